# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.receiver``: a webhook receiver that reports.

Prints its port. For each line on its standard input it prints a line of JSON:
for "count", how many requests have come; for any other, for each of them the
path, the number in the message's body, and how many seconds after the time
named there it came; both are 0 where the body has none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from typing import Any

_ANSWER = b'HTTP/1.1 204 No Content\r\n\r\n'


class _Connection(asyncio.Protocol):
    """Speaks just enough HTTP."""

    def __init__(self, delay: float, got: list[tuple[str, int, float]]):
        self._delay = delay
        self._got = got
        self._buffer = b''

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, blank_line, rest = self._buffer.partition(b'\r\n\r\n')
            if not blank_line:
                return
            size = _length(head)
            if len(rest) < size:
                return
            self._buffer = rest[size:]
            self._take(head, rest[:size])

    def _take(self, head: bytes, body: bytes) -> None:
        message = json.loads(body)['body']
        path = head.split(b' ', 2)[1].decode()
        now = time.time()
        self._got.append(
            (path, message.get('n', 0), now - message.get('at', now))
        )
        loop = asyncio.get_running_loop()
        loop.call_later(self._delay, self._transport.write, _ANSWER)


def _length(head: bytes) -> int:
    for line in head.split(b'\r\n'):
        name, _, value = line.partition(b':')
        if name.lower() == b'content-length':
            return int(value)
    return 0


async def _serve(delay: float) -> None:
    got: list[tuple[str, int, float]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(delay, got), '127.0.0.1', 0, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        answer = len(got) if line == b'count\n' else got
        print(json.dumps(answer), flush=True)


class Receiver:
    """One of these in a process of its own.

    :param delay: seconds before each answer
    """

    def __init__(self, delay: float = 0.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.receiver', str(delay)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = f'http://127.0.0.1:{self._line().strip()}'

    def got(self) -> list[tuple[str, int, float]]:
        """Return what has come."""
        return [tuple(one) for one in self._ask('got')]

    def count(self) -> int:
        """Return how many requests have come."""
        return int(self._ask('count'))

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _ask(self, what: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f'{what}\n')
        self._process.stdin.flush()
        return json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser('python -m benchmarks.receiver')
    parser.add_argument('delay', type=float)
    asyncio.run(_serve(parser.parse_args().delay))


if __name__ == '__main__':
    main()
