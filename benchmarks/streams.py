# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.streams``: many streams of one queue, cut at random.

Every stream has to get every message once, in order. Each is cut again and
again, and goes on at either of two servers of one database.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import pathlib
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import ClassVar

import requests

from benchmarks import machine, program_options
from zaqar.tests.servers.zaqar import Zaqar, with_database

#: Messages of one post.
BATCH = 100

#: Seconds for which a stream may stay silent.
PATIENCE = 60.0

#: Seconds, at most, until a stream tries again that has found no server.
RETRY = 2.0

_HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'p',
}


class Wrong(Exception):
    """A stream has not got what it should have."""


class Refused(Exception):
    """A server has too much to do."""


class Stream:
    """A client of one stream, by one of two transports.

    :cvar first: the first bytes of a message that comes
    :cvar message: its place and body
    """

    first: ClassVar[bytes]
    message: ClassVar[re.Pattern[bytes]]

    def __init__(
        self, ports: Sequence[int], expected: Sequence[bytes], every: float
    ) -> None:
        self._ports = ports
        self._expected = expected
        self._every = every
        self.last = ''
        self.taken = self.connections = self.failures = 0

    async def begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        """Ask for the stream, after the last place; return the answer."""
        raise NotImplementedError

    async def run(self) -> None:
        """Read until all messages have come."""
        while self.taken < len(self._expected):
            self.connections += 1
            try:
                await self._read(random.choice(self._ports))
            except (OSError, asyncio.IncompleteReadError, Refused):
                # As clients do that find a server too busy for them.
                self.failures += 1
                await asyncio.sleep(RETRY * random.random())

    async def _read(self, port: int) -> None:
        """Read from a server, until it is time for another one."""
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        end = time.monotonic() + random.expovariate(1 / self._every)
        rest = b''
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self.begin(reader, writer)
            if b' 503 ' in answer[:16]:
                raise Refused
            if not re.match(rb'HTTP/1.. (200|101) ', answer):
                raise Wrong(answer.decode())
            while self.taken < len(self._expected) and time.monotonic() < end:
                async with asyncio.timeout(PATIENCE):
                    data = await reader.read(1 << 18)
                if not data:
                    return
                rest = self._take(rest + data)
        finally:
            # Without a farewell.
            writer.transport.abort()

    def _take(self, data: bytes) -> bytes:
        """Take what has come; return what is left of it."""
        got = self.message.findall(data)
        bodies = [body for _, body in got]
        until = self.taken + len(bodies)
        expected = self._expected[self.taken : until]
        if bodies != expected:
            raise Wrong(f'{bodies[:3]} instead of {expected[:3]}')
        self.taken = until
        if got:
            self.last = got[-1][0].decode()
        at = max(0, data.rfind(self.first))
        last = self.message.match(data, at)
        return data[last.end() :] if last else data[at:]


class EventStream(Stream):
    """Server-Sent Events."""

    first = b'id: '
    message = re.compile(
        rb'id: (\w+)\nevent: message\ndata: [^\n]*?"body":(\d+),'
    )

    async def begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        lines = [
            'GET /v2/queues/q/messages HTTP/1.0',
            'X-Project-ID: p',
            'Accept: text/event-stream',
        ]
        if self.last:
            lines.append(f'Last-Event-ID: {self.last}')
        writer.write('\r\n'.join([*lines, '', '']).encode())
        return await reader.readuntil(b'\r\n\r\n')


class FrameStream(Stream):
    """A stream over WebSocket."""

    first = b'"marker":"'
    message = re.compile(
        rb'"marker":"(\w+)","message":{"ttl":\d+,"age":\d+,"body":(\d+),'
    )

    async def begin(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        lines = [
            *('GET / HTTP/1.1', 'Host: 127.0.0.1', 'Upgrade: websocket'),
            *('Connection: Upgrade', 'Sec-WebSocket-Version: 13'),
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        ]
        writer.write('\r\n'.join([*lines, '', '']).encode())
        answer = await reader.readuntil(b'\r\n\r\n')
        body = {'queue_name': 'q', 'echo': True}
        if self.last:
            body['marker'] = self.last
        request = json.dumps(
            {
                'action': 'message_stream',
                'headers': _HEADERS
                | {'OpenStack-API-Version': 'messaging 2.1'},
                'body': body,
            }
        ).encode()
        # Masked by zeros.
        head = b'\x81\xfe' + len(request).to_bytes(2, 'big') + bytes(4)
        writer.write(head + request)
        return answer


TRANSPORTS: dict[str, tuple[type[Stream], ...]] = {
    'http': (EventStream,),
    'websocket': (FrameStream,),
    'both': (EventStream, FrameStream),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('streams', __doc__, has_results=False)
    parser.add_argument('--streams', type=int, default=1000)
    parser.add_argument('--messages', type=int, default=10_000)
    parser.add_argument(
        '--cut',
        type=float,
        default=20.0,
        help='seconds after which a stream is cut, on average',
    )
    parser.add_argument('--transport', choices=TRANSPORTS, default='http')
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as name:
        folder = pathlib.Path(name)
        url = f'sqlite:///{folder}/zaqar.sqlite'
        servers = []
        try:
            for number in range(2):
                own = folder / str(number)
                own.mkdir()
                server = Zaqar(own, rest=with_database(url))
                servers.append(server.start())
            return _measured(servers, options)
        finally:
            for server in servers:
                server.stop()


def _measured(servers: Sequence[Zaqar], options: argparse.Namespace) -> int:
    began = time.monotonic()
    try:
        streams = asyncio.run(_run(servers, options))
    except* Wrong as errors:
        print(f'Streams are wrong: {errors.exceptions[0]}')
        sys.exit(1)
    seconds = time.monotonic() - began
    sent = options.streams * options.messages
    print(
        f'{options.streams:,} streams have each got {options.messages:,} '
        f'messages, in {seconds:.0f} s ({sent / seconds:,.0f} a second); '
        f'{sum(one.connections for one in streams):,} connections, of which '
        f'{sum(one.failures for one in streams):,} failed'
    )
    for server in servers:
        log = server.log.read_text()
        (pid,) = re.findall(r'Started WebSocket server as process (\d+)', log)
        print(
            f'{machine.rss(int(pid)) / 2**20:,.0f} MiB, '
            f'{machine.cpu_seconds(int(pid)):.0f} s of CPU'
        )
    return 0


async def _run(
    servers: Sequence[Zaqar], options: argparse.Namespace
) -> Sequence[Stream]:
    expected = [str(number).encode() for number in range(options.messages)]
    ports = [server.socket_port for server in servers]
    kinds = itertools.cycle(TRANSPORTS[options.transport])
    streams = [
        kind(ports, expected, options.cut)
        for kind in itertools.islice(kinds, options.streams)
    ]
    async with asyncio.TaskGroup() as group:
        posting = group.create_task(
            asyncio.to_thread(_post, servers[0].url, options.messages)
        )
        for stream in streams:
            group.create_task(stream.run())
        await posting
    return streams


def _post(origin: str, count: int) -> None:
    with requests.Session() as session:
        for first in range(0, count, BATCH):
            bodies = range(first, min(count, first + BATCH))
            answer = session.post(
                f'{origin}/v2/queues/q/messages',
                json={'messages': [{'body': body} for body in bodies]},
                headers=_HEADERS,
                timeout=PATIENCE,
            )
            answer.raise_for_status()


if __name__ == '__main__':
    sys.exit(main())
