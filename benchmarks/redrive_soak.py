# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.redrive_soak``: a redrive under consumers and kills.

Makes dead letters, and redrives them at a rate while consumers pop what
arrives. Meanwhile as many notifiers are killed at random as ``--kills`` says.
Fails if a message is lost or doubled, or, without kills, if the rate is off by
more than a tenth.
"""

from __future__ import annotations

import collections
import contextlib
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import requests

from benchmarks import databases, machine, program_options, report, target
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar, with_database

SECTION = 'Redrives'

_HEAD = (
    'store',
    'moved',
    'lost',
    'doubled',
    'left',
    'kills',
    'per second',
    '',
)

#: Seconds between two kills.
PAUSES = (1.0, 5.0)

CONSUMERS = 2
NOTIFIERS = 2

#: Messages of a post.
BATCH = 100

#: Tries of a request.
TRIES = 5

#: Seconds to wait for the end, beyond what the rate asks for.
PATIENCE = 180.0

#: How far the rate may be off.
TOLERANCE = 0.1

_REST = """
{groups}
[drivers]
transport = wsgi
[notification]
embedded = False
[transport]
max_messages_per_claim_or_pop = 100
"""


class Consumer:
    """Pops messages until it is stopped.

    :ivar got: bodies, each with the time of its arrival
    """

    def __init__(self, service: Service, queue: str) -> None:
        self.got: list[tuple[int, float]] = []
        self._service, self._queue = service, queue
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after a pop that gets nothing."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            ends = self._ended.is_set()
            answer = self._service.ask(
                'DELETE', f'{self._queue}/messages?pop=100'
            )
            now = time.monotonic()
            messages = answer.json()['messages']
            self.got += [(one['body'], now) for one in messages]
            if not messages:
                if ends:
                    return
                time.sleep(0.02)


class Service:
    """A server, and notifiers of its own."""

    def __init__(self, folder: pathlib.Path, rest: str) -> None:
        self._server = Zaqar(folder, rest=rest, workers=1)
        self._has_tables = 'sqlalchemy' in rest
        self._session = threading.local()
        self._notifiers: list[process.Process] = []
        self._headers = {
            'Client-ID': str(uuid.uuid4()),
            'X-Project-Id': 'soak',
            'OpenStack-API-Version': 'messaging 2.1',
        }

    def __enter__(self) -> Service:
        if self._has_tables:
            done = self._server.run('upgrade', 'head', program='sql_db_manage')
            assert done.returncode == 0, done.stderr
        self._server.start()
        self._notifiers = [self._notifier(n) for n in range(NOTIFIERS)]
        return self

    def __exit__(self, *_details: object) -> None:
        for notifier in self._notifiers:
            notifier.stop()
        self._server.stop()

    def ask(
        self, method: str, path: str, document: Any = None
    ) -> requests.Response:
        """Send a request about queues, and return its answer.

        A claim that takes too long, on a busy machine, is repeated.
        """
        if not hasattr(self._session, 'one'):
            self._session.one = requests.Session()
        for _ in range(TRIES if '/claims' in path else 1):
            answer: requests.Response = self._session.one.request(
                method,
                f'{self._server.url}/v2/queues/{path}',
                json=document,
                headers=self._headers,
                timeout=30,
            )
            if answer.status_code != 503:
                break
        assert answer.status_code < 300, (method, path, answer.text)
        return answer

    def kill(self, chance: random.Random) -> None:
        """Kill a notifier, and start another one."""
        number = chance.randrange(len(self._notifiers))
        self._notifiers[number].child.send_signal(signal.SIGKILL)
        self._notifiers[number].child.wait()
        self._notifiers[number] = self._notifier(number)

    def _notifier(self, number: int) -> process.Process:
        return process.Process(
            self._server.command(program='notifier'),
            self._server.folder / f'notifier-{number}.log',
        )


def make_letters(service: Service, count: int) -> None:
    """Post messages and claim them until they are dead letters."""
    service.ask(
        'PUT', 'work', {'_max_claim_count': 1, '_dead_letter_queue': 'dead'}
    )
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        messages = [{'body': number, 'ttl': 86_400} for number in numbers]
        service.ask('POST', 'work/messages', {'messages': messages})
    claims = []
    while True:
        answer = service.ask('POST', 'work/claims?limit=100', {'ttl': 3600})
        if answer.status_code == 204:
            break
        claims.append(answer.headers['Location'].rpartition('/')[2])
    for claim in claims:
        service.ask('DELETE', f'work/claims/{claim}')
    moved = 0
    while moved < count:
        service.ask('POST', 'work/claims?limit=100', {'ttl': 60})
        total = service.ask('GET', 'dead/stats').json()['messages']['total']
        moved = int(total)


def redrive(
    service: Service, count: int, rate: int, kills: int, seed: int
) -> list[str]:
    """Redrive dead letters; return what came of it, by :data:`_HEAD`."""
    chance = random.Random(seed)
    consumers = [Consumer(service, 'work') for _ in range(CONSUMERS)]
    answer = service.ask('POST', 'dead/redrive', {'rate': rate})
    path = f'dead/redrives/{answer.json()["redrive_id"]}'
    end = time.monotonic() + count / rate + PATIENCE
    killed = 0
    kill_at = time.monotonic() + chance.uniform(*PAUSES)
    while True:
        shown = service.ask('GET', path).json()
        if shown['status'] != 'running' or time.monotonic() > end:
            break
        if killed < kills and time.monotonic() > kill_at:
            service.kill(chance)
            killed += 1
            kill_at = time.monotonic() + chance.uniform(*PAUSES)
        time.sleep(0.2)
    for consumer in consumers:
        consumer.stop()
    got = [one for consumer in consumers for one in consumer.got]
    counts = collections.Counter(body for body, _ in got)
    lost = count - len(counts)
    doubled = sum(counts.values()) - len(counts)
    moments = sorted(moment for _, moment in got)
    measured = (len(got) - 1) / (moments[-1] - moments[0])
    left = service.ask('GET', 'dead/stats').json()['messages']['total']
    is_off = not kills and abs(measured / rate - 1) > TOLERANCE
    is_done = shown['status'] == 'done' and shown['moved'] == count
    is_wrong = bool(lost or doubled or left or is_off or not is_done)
    figures = (shown['moved'], lost, doubled, left, killed)
    return [
        *(f'{figure:,}' for figure in figures),
        f'{measured:.1f}',
        'WRONG' if is_wrong else '',
    ]


@contextlib.contextmanager
def started(store: str) -> Iterator[Service]:
    """Yield a service on an empty store."""
    with (
        databases.OWN[store]() as source,
        tempfile.TemporaryDirectory(prefix='zaqar-redrive-') as folder,
        Service(
            pathlib.Path(folder), settings(store, source.database())
        ) as service,
    ):
        yield service


def settings(store: str, url: str) -> str:
    """Return a configuration with a store."""
    redis = store == 'redis'
    groups = target.stores(url) if redis else with_database(url)
    return _REST.format(groups=groups)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('redrive_soak', __doc__)
    parser.add_argument('--letters', type=int, default=10_000)
    parser.add_argument('--rate', type=int, default=500)
    parser.add_argument('--kills', type=int, default=0)
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument(
        '--store', action='append', choices=databases.OWN, help='(sqlite)'
    )
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else time.time_ns()
    rate = options.rate
    facts = {
        **machine.description(),
        'Settings': f'{options.letters:,} dead letters, {rate}/s, '
        f'{CONSUMERS} consumers, {NOTIFIERS} notifiers, seed {seed}',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts), flush=True)
    table = report.Table('Redriven messages', _HEAD)
    for name in options.store or ['sqlite']:
        with started(name) as service:
            make_letters(service, options.letters)
            figures = redrive(
                service, options.letters, rate, options.kills, seed
            )
        table.rows.append([name, *figures])
    print(table.text())
    report.write_section(
        options.markdown, SECTION, report.facts(facts), table.markdown()
    )
    return int(any(row[-1] for row in table.rows))


if __name__ == '__main__':
    sys.exit(main())
