# SPDX-License-Identifier: Apache-2.0
"""The bytes that a socket is to send, and those that are not taken yet."""

import asyncio

from zaqar.transport.large_page_fairness import LARGE


class OutgoingBytes:
    """Writes to a transport, and counts what it holds.

    A large piece is held as a whole until its end is sent.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = 0

    def write(self, data: bytes) -> None:
        if len(data) >= LARGE:
            self._held = self.unsent() + len(data)
        self._transport.write(data)

    def unsent(self) -> int:
        """Return the bytes that are held for the client."""
        size = self._transport.get_write_buffer_size()
        return max(size, self._held) if size else 0

    def resumed(self) -> None:
        """Handle that the client reads again."""
        self._held = 0
