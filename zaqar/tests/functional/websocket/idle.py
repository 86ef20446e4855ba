# SPDX-License-Identifier: Apache-2.0
"""A program that keeps connections open and says nothing.

``python -m zaqar.tests.functional.websocket.idle PORT COUNT``: prints a line
when all are open, and ends with its standard input.
"""

from __future__ import annotations

import socket
import sys

_HANDSHAKE = (
    b'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n'
    b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
    b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
)

#: Handshakes that are waited for together.
_BATCH = 200


def main(port: int, count: int) -> None:
    """Open connections and wait."""
    opened: list[socket.socket] = []
    while len(opened) < count:
        batch = [
            socket.create_connection(('127.0.0.1', port), 60)
            for _ in range(min(_BATCH, count - len(opened)))
        ]
        for one in batch:
            one.sendall(_HANDSHAKE)
        for one in batch:
            answer = one.recv(4096)
            if not answer.startswith(b'HTTP/1.1 101'):
                sys.exit(answer.decode(errors='replace'))
        opened += batch
    print(len(opened), flush=True)
    sys.stdin.read()


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]))
