# SPDX-License-Identifier: Apache-2.0
"""Answers of receivers, read to their very end.

http.client takes 102 and 103 for the final answer, and what follows an answer
for the beginning of the next one. A receiver that sends either would have its
connection one answer behind from then on: failures would count as delivered.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import Any

#: Interim answers (100 to 199) before the final one, at most.
MOST_INTERIM = 16

_SWITCHING = 101


class OddAnswer(http.client.HTTPException):
    """What came is no answer to a request of ours."""


class FinalAnswer(http.client.HTTPResponse):
    """The final answer to a request.

    After an odd one (more bytes than it announces, or a length that can be
    understood in two ways) the connection is of no use any more: it is shut
    down, which urllib3 sees before it would use it again.
    """

    def __init__(self, sock: socket.socket, *given: Any, **more: Any) -> None:
        super().__init__(sock, *given, **more)
        self._sock = sock

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        if self._has_odd_length():
            self.will_close = True

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the final answer (3.11 to 3.14)."""
        for _ in range(MOST_INTERIM + 1):
            found: tuple[str, int, str]
            found = super()._read_status()  # type: ignore[misc]
            if found[1] == _SWITCHING:
                raise OddAnswer('protocol switched unasked')
            if found[1] >= 200:
                return found
            http.client.parse_headers(self.fp)
        raise OddAnswer('too many interim answers')

    def _has_odd_length(self) -> bool:
        lengths = self.headers.get_all('Content-Length', [])
        codings = self.headers.get_all('Transfer-Encoding', [])
        if codings:
            return bool(lengths) or not self.chunked
        return len(lengths) > 1 or not all(map(_is_length, lengths))

    def _close_conn(self) -> None:
        if self.fp is not None and self._is_followed():
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        super()._close_conn()  # type: ignore[misc]

    def _is_followed(self) -> bool:
        """Tell whether more has come than belongs to this answer."""
        patience = self._sock.gettimeout()
        try:
            self._sock.settimeout(0)
            return bool(self.fp.peek(1))
        except (OSError, ValueError):
            # Nothing is there, as TLS puts it, or nobody is any more.
            return False
        finally:
            with contextlib.suppress(OSError):
                self._sock.settimeout(patience)


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdecimal()
