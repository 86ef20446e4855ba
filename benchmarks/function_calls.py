# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.function_calls``: how many functions a request calls.

Python's own functions and those written in C, as cProfile counts them without
recursion. Unlike times the number is the same on every machine, so that a test
can hold it; and what a request costs in Python goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import io
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks import (
    databases,
    floor,
    program_options,
    report,
    requests,
    target,
)
from benchmarks.load import Step, WrongAnswerError
from zaqar import service_assembly
from zaqar.transport.wsgi import request_environ
from zaqar.transport.wsgi.server.client_connections_and_limits import Clients
from zaqar.transport.wsgi.server.connection import ClientLimits, Connection
from zaqar.transport.wsgi.server.request_answering import (
    Answering,
    AnswerWriter,
)
from zaqar.transport.wsgi.server.request_threads import RequestThreads

#: The most that an operation may call on Redis: within the application, and
#: with what ``zaqar-server`` does around it, from the bytes of the request to
#: those of the answer. Lower them with what you save.
MOST: Mapping[str, tuple[int, int]] = {
    'ping': (85, 175),
    'show': (100, 190),
    'post one': (171, 278),
    'claim five': (170, 278),
    'list ten': (190, 277),
}

#: What quotas and rates add at most; two calls to any other.
MOST_OF_LIMITS: Mapping[str, int] = {'post one': 8}

#: Requests that come before those that are counted, and those of which the
#: one with the fewest calls counts: some work is done now and then.
BEFORE = 2
COUNTED = 5

#: Messages for these claims and the page.
DEPTH = floor.CLAIM * (BEFORE + COUNTED) * 2 + floor.PAGE

#: Places of what is not part of a request.
_OURS = (__file__, cProfile.__file__, "'disable'")

_HEAD = ('operation', 'calls', 'most', 'with the server', 'most')


class Queue:
    """A queue of a project of ours."""

    project = 'bench-calls'
    path = '/v2/queues/calls'


class Application:
    """The application of a service, in this process."""

    def __init__(self, service: service_assembly.Service) -> None:
        self._app = service.application()

    def exchange(
        self, step: Step, profile: cProfile.Profile | None = None
    ) -> None:
        """Send a request.

        :param profile: takes what happens meanwhile
        :raises WrongAnswerError: the status is not the expected one
        """
        scope, body = _scope(step.request)
        environ = request_environ.to_environ(scope)
        environ['wsgi.input'] = io.BytesIO(body)
        started: list[str] = []

        def start(status: str, _headers: Any, *_more: Any) -> None:
            started.append(status)

        with profile or contextlib.nullcontext():
            parts = self._app(environ, start)
        _check(int(started[0][:3]), step)
        b''.join(parts)


class Served:
    """The same behind what ``zaqar-server`` puts around it."""

    def __init__(self, service: service_assembly.Service) -> None:
        self._threads = RequestThreads(1)
        self._calls: list[Callable[[], None]] = []
        answering = Answering(
            service.application(),
            self._threads,
            AnswerWriter(self._calls.append).put,
            0,
        )
        limits = ClientLimits(30, 30, 500, service.longest_body)
        clients = Clients(('127.0.0.1', 8888), limits, answering.handle)
        self._connection = Connection(clients)
        self._transport = _Transport()
        self._connection.connection_made(self._transport)

    def exchange(
        self, step: Step, profile: cProfile.Profile | None = None
    ) -> None:
        """Send a request."""
        with profile or contextlib.nullcontext():
            self._connection.data_received(step.request)
            self._threads.work(waits=False)
            self._calls.pop()()
        _check(int(self._transport.written.pop()[9:12]), step)


class _Transport(asyncio.Transport):
    """Takes answers, as if all of them were sent."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        #: As an event loop has it, this is no function of Python.
        self.write = self.written.append  # type: ignore[assignment]

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """Do nothing."""


def _check(status: int, step: Step) -> None:
    if status != step.status:
        raise WrongAnswerError(f'{status} instead of {step.status}')


def _scope(request: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the parts of a request as ASGI has them, and its body."""
    head, _, body = request.partition(b'\r\n\r\n')
    line, *lines = head.split(b'\r\n')
    method, path, _ = line.split(b' ')
    raw_path, _, query = path.partition(b'?')
    pairs = (each.split(b': ', 1) for each in lines)
    scope = {
        'method': method.decode(),
        'raw_path': raw_path,
        'query_string': query,
        'http_version': '1.1',
        'scheme': 'http',
        'server': ('127.0.0.1', '8888'),
        'client': ('127.0.0.1', 40000),
        'headers': [(name.lower(), value) for name, value in pairs],
    }
    return scope, body


def steps() -> Mapping[str, Step]:
    """Return the requests that are counted."""
    sender = requests.Requests(Queue())
    ping = requests.request(Queue.project, 'GET', '/v2/ping')
    return {
        'ping': Step(ping, 204),
        'show': sender.show(),
        'post one': sender.post(1),
        'claim five': sender.claim(),
        'list ten': sender.list(),
    }


def count(side: Application | Served, step: Step) -> cProfile.Profile:
    """Return the calls of a request like some before it."""
    for _ in range(BEFORE):
        side.exchange(step)
    profiles = [cProfile.Profile() for _ in range(COUNTED)]
    for profile in profiles:
        side.exchange(step, profile)
    return min(profiles, key=total)


def total(profile: cProfile.Profile) -> int:
    """Return the primitive calls of a profile, but for those of our own."""
    return sum(calls for calls, _ in functions(profile))


def functions(profile: cProfile.Profile) -> Sequence[tuple[int, str]]:
    """Return how often each function was called, and where it is."""
    counted = [
        (entry.callcount - entry.reccallcount, _place(entry.code))
        for entry in profile.getstats()
    ]
    return sorted(
        item for item in counted if not any(part in item[1] for part in _OURS)
    )


def _place(code: Any) -> str:
    if isinstance(code, str):
        return code
    return f'{code.co_filename}:{code.co_firstlineno} {code.co_qualname}'


@contextlib.contextmanager
def service(url: str, more: str = '') -> Iterator[service_assembly.Service]:
    """Give a service on a database.

    :param more: further lines of its configuration
    """
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        file = pathlib.Path(folder, 'zaqar.conf')
        state = f'[DEFAULT]\nstate_path = {folder}\n'
        file.write_text(state + target.settings(url) + more)
        conf = target.configuration([f'--config-file={file}'])
        opened = service_assembly.Service(conf)
        try:
            yield opened
        finally:
            opened.close()


def profiles(
    opened: service_assembly.Service,
) -> Mapping[str, Sequence[cProfile.Profile]]:
    """Return the calls of each operation, without the server and with it."""
    sides = (Application(opened), Served(opened))
    sides[0].exchange(requests.Requests(Queue()).post(DEPTH))
    return {
        name: [count(side, step) for side in sides]
        for name, step in steps().items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser(
        'function_calls', __doc__, has_results=False
    )
    add = parser.add_argument
    add('--store', metavar='URL', default='redis', help='(%(default)s)')
    add(
        '--functions',
        choices=MOST,
        help='list those that this operation calls, with the server',
    )
    options = parser.parse_args(arguments)
    ((_, chosen),) = databases.chosen([options.store])
    with chosen as source, service(source.database()) as opened:
        counted = profiles(opened)
    if options.functions:
        for calls, place in functions(counted[options.functions][1]):
            print(f'{calls:4} {place}')
        return 0
    rows, code = [], 0
    for name, most in MOST.items():
        pairs = zip(map(total, counted[name]), most, strict=True)
        row = [(calls, bound) for calls, bound in pairs]
        if options.store == 'redis' and any(c > m for c, m in row):
            code = 1
        rows.append([name, *(str(n) for pair in row for n in pair)])
    print(report.Table('Calls of functions', _HEAD, rows).text())
    return code


if __name__ == '__main__':
    sys.exit(main())
