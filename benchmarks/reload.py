# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.reload``: what SIGHUP costs those who post.

Clients post at a steady pace, about half of what two cores can do, to a server
with two API workers, the WebSocket server and the notifier. Each round
measures them in peace, then while every process is replaced. The exit code is
1 if a request failed, or if in the median round the longest one took more than
twice the quiet p99.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import secrets
import select
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import load, machine, program_options, report, requests
from benchmarks.load import Step
from benchmarks.target import BODY, POSTER, TTL
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'Reload'

#: Times the quiet p99 that the longest request may take meanwhile.
MOST = 2.0

#: Seconds that a reload may take.
PATIENCE = 60.0

_HEAD = (
    'round',
    'quiet posts',
    'p50 ms',
    'p99 ms',
    'longest ms',
    'posts while reloading',
    'p50 ms',
    'longest ms',
    'of quiet p99',
    'new connections',
    'failed',
)


@dataclass
class Phase:
    """What clients met meanwhile.

    :ivar latencies: seconds of each post, with the connection it needed
    """

    latencies: list[float] = field(default_factory=list)
    connections: int = 0
    failures: int = 0

    def ms(self, part: float) -> float:
        """Return a quantile of the latencies, in milliseconds."""
        return report.quantile(self.latencies, part) * 1e3


class Clients:
    """Threads that post at a steady pace until stopped.

    :ivar phase: what takes the figures; may be replaced at any time
    """

    def __init__(self, port: int, count: int, pace: float) -> None:
        self.phase = Phase()
        self._port = port
        self._pace = pace
        self._stopped = threading.Event()
        body = b'{"messages":[{"ttl":%d,"body":%b}]}' % (TTL, BODY)
        path = '/v2/queues/posts/messages'
        project = f'bench-{secrets.token_hex(6)}'
        request = requests.request(project, 'POST', path, body, client=POSTER)
        self._step = Step(request, 201)
        self._threads = [
            threading.Thread(target=self._run, args=(pace * number / count,))
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Return when the last posts have been answered."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, delay: float) -> None:
        with contextlib.suppress(PermissionError):
            # Elsewhere clients have machines of their own.
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        due = time.monotonic() + delay
        connection: load.Connection | None = None
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            phase = self.phase
            began = time.perf_counter()
            try:
                # As client libraries do: a connection that the server has
                # closed is not used again.
                if connection is None or _is_closed(connection):
                    connection = load.Connection(self._port)
                    phase.connections += 1
                connection.exchange(self._step)
            except (OSError, load.WrongAnswerError):
                phase.failures += 1
                connection = None
            phase.latencies.append(time.perf_counter() - began)
            due = max(due + self._pace, time.monotonic())
        if connection is not None:
            connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {**machine.description(), 'Load average': machine.load()}
    print(report.facts(facts))
    table = report.Table(
        f'{options.clients} clients, a post every {options.pace * 1e3:g} ms '
        f'each, {options.reloads} reload{"s"[: options.reloads - 1]} a round',
        _HEAD,
    )
    ratios = []
    failures = 0
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        server = Zaqar(pathlib.Path(folder), workers=2).start()
        clients = Clients(server.port, options.clients, options.pace)
        # This thread only waits and counts.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            time.sleep(options.seconds)
            for number in range(1, options.rounds + 1):
                quiet = clients.phase = Phase()
                time.sleep(options.seconds)
                reloading = clients.phase = Phase()
                for _ in range(options.reloads):
                    _reload(server)
                clients.phase = Phase()
                ratios.append(_ratio(quiet, reloading))
                failures += quiet.failures + reloading.failures
                table.rows.append(_row(number, quiet, reloading))
        finally:
            clients.stop()
            server.stop()
    print(table.text())
    median = statistics.median(ratios)
    verdict = (
        f'longest request of the median round: {median:.1f} times the quiet '
        f'p99 (at most {MOST:g}); failed requests: {failures}'
    )
    print(verdict)
    report.write_section(
        options.markdown,
        SECTION,
        report.facts(facts),
        table.markdown(),
        verdict,
    )
    return int(median > MOST or failures > 0)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('reload', __doc__)
    add = parser.add_argument
    add('--rounds', type=int, default=7, help='(7)')
    add('--reloads', type=int, default=1, help='in each round (1)')
    add('--clients', type=int, default=28, help='(28)')
    add('--pace', type=float, default=0.016, help='seconds per post (0.016)')
    add('--seconds', type=float, default=10.0, help='of quiet a round (10)')
    return parser.parse_args(arguments)


def _is_closed(connection: load.Connection) -> bool:
    if b'connection: close' in connection.head.lower():
        return True
    # Nothing is expected, so what can be read is the end.
    return bool(select.select([connection], [], [], 0)[0])


def _reload(server: Zaqar) -> None:
    """Replace every process; return when the old ones have ended."""
    before = set(server.workers())
    os.kill(server.process.child.pid, signal.SIGHUP)
    end = time.monotonic() + PATIENCE
    while before & set(server.workers()):
        if time.monotonic() > end:
            raise RuntimeError('processes are not replaced')
        time.sleep(0.2)
    # Those that posted to the old ones connect anew.
    time.sleep(0.5)


def _ratio(quiet: Phase, reloading: Phase) -> float:
    return reloading.ms(1) / quiet.ms(0.99)


def _row(number: int, quiet: Phase, reloading: Phase) -> Sequence[str]:
    return (
        str(number),
        f'{len(quiet.latencies):,}',
        f'{quiet.ms(0.5):.1f}',
        f'{quiet.ms(0.99):.1f}',
        f'{quiet.ms(1):.1f}',
        f'{len(reloading.latencies):,}',
        f'{reloading.ms(0.5):.1f}',
        f'{reloading.ms(1):.1f}',
        f'{_ratio(quiet, reloading):.1f}',
        str(reloading.connections),
        str(quiet.failures + reloading.failures),
    )


if __name__ == '__main__':
    sys.exit(main())
