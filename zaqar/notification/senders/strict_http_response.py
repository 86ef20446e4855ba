# SPDX-License-Identifier: Apache-2.0
"""HTTP responses of receivers, read strictly and to their very end.

http.client takes 102 and 103 for the final response, and what follows a
response for the beginning of the next one. A receiver that sends either would
have its connection one response behind from then on: failures would count as
delivered.
"""

import contextlib
import http.client
import socket
from typing import Any

#: Maximum number of interim responses (100 to 199) before the final one.
MAX_INTERIM = 16


class MalformedResponse(http.client.HTTPException):
    """The response violates the protocol."""


class FinalResponse(http.client.HTTPResponse):
    """The final response to a request.

    After one with more bytes than it announces, or with an ambiguous length,
    the connection cannot be used again: it is shut down, which urllib3 sees.
    """

    def __init__(
        self, sock: socket.socket, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(sock, *arguments, **options)
        self._sock = sock

    def begin(self) -> None:
        super().begin()
        if self._has_odd_length():
            self.will_close = True

    def _read_status(self) -> tuple[str, int, str]:
        """Read the status line of the final response (3.11 to 3.14)."""
        for _ in range(MAX_INTERIM + 1):
            line: tuple[str, int, str]
            line = super()._read_status()  # type: ignore[misc]
            if line[1] == 101:
                raise MalformedResponse('protocol switched unasked')
            if line[1] >= 200:
                return line
            http.client.parse_headers(self.fp)
        raise MalformedResponse('too many interim answers')

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
        """Return whether more has come than belongs to this response."""
        patience = self._sock.gettimeout()
        try:
            self._sock.settimeout(0)
            return bool(self.fp.peek(1))
        except (OSError, ValueError):
            # Nothing is there, as TLS says so, or the connection is closed.
            return False
        finally:
            with contextlib.suppress(OSError):
                self._sock.settimeout(patience)


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdecimal()
