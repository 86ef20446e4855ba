# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.notify_soak``: deliveries under kills.

Posts to a queue with subscribers while API workers and notifiers are killed
at random, then waits until each acknowledged message has reached each
subscriber. Prints, for each round, how many came more than once.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import requests

from benchmarks import program_options, target
from benchmarks.receiver import Receiver
from zaqar.tests.servers import process, sql
from zaqar.tests.servers.redis import Redis
from zaqar.tests.servers.zaqar import Zaqar, is_alive, with_database

STORES = ('sqlite', 'postgresql', 'mariadb', 'redis')

#: Seconds between two kills.
PAUSES = (0.3, 1.5)

#: Threads that post.
POSTERS = 4

#: Seconds to wait for what has not come: claims lapse in 30.
PATIENCE = 180.0

_REST = """{database}
[drivers]
transport = wsgi
[notification]
allowed_networks = 127.0.0.0/8
"""


@dataclass(frozen=True)
class Round:
    """What came of one."""

    posts: int
    pairs: int
    missing: int
    repeated: int
    kills: int
    seconds: float

    def line(self, number: int) -> str:
        """Return it as it is shown."""
        return (
            f'round {number}: {self.posts} posts acknowledged, '
            f'{self.pairs} pairs, {self.missing} missing, '
            f'{self.repeated} repeated, {self.kills} kills, '
            f'{self.seconds:.1f} s'
        )


class Killer:
    """Kills processes of ours at random until it is stopped."""

    def __init__(self, server: Zaqar, chance: random.Random) -> None:
        self.kills = 0
        self._server = server
        self._chance = chance
        self._ended = threading.Event()
        self._start_notifier()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill no more."""
        self._ended.set()
        self._thread.join()

    def close(self) -> None:
        """End the notifier that runs alone."""
        self._notifier.stop()

    def _start_notifier(self) -> None:
        command = self._server.command(program='notifier')
        self._notifier = process.Process(
            command, self._server.folder / 'notifier.log'
        )

    def _run(self) -> None:
        while not self._ended.wait(self._chance.uniform(*PAUSES)):
            alone = self._notifier.child
            victims = [*self._server.workers(), alone.pid]
            victim = self._chance.choice(victims)
            if victim == alone.pid:
                alone.kill()
                alone.wait()
                self._start_notifier()
            elif is_alive(victim):
                os.kill(victim, signal.SIGKILL)
            self.kills += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('notify_soak', __doc__, has_results=False)
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--posts', type=int, default=2000)
    parser.add_argument('--subscribers', type=int, default=5)
    parser.add_argument('--filler', type=int, default=0, metavar='BYTES')
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument('--store', choices=STORES, default='sqlite')
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else time.time_ns()
    print(f'store {options.store}, seed {seed}', flush=True)
    chance = random.Random(seed)
    missing = repeated = pairs = 0
    with (
        configuration(options.store) as lines,
        Soak(lines, options.subscribers, options.filler) as soak,
    ):
        for number in range(1, options.rounds + 1):
            result = soak.round(options.posts, chance)
            missing += result.missing
            pairs += result.pairs
            repeated += result.repeated
            print(result.line(number), flush=True)
    print('nothing is missing' if not missing else f'{missing} missing')
    print(f'{repeated / pairs:.2%} are repeated')
    return int(bool(missing))


@contextlib.contextmanager
def configuration(store: str) -> Iterator[str]:
    """Yield the lines of a configuration that name an empty database."""
    if store == 'sqlite':
        yield ''
        return
    if store == 'redis':
        redis = Redis({'appendonly': 'yes', 'appendfsync': 'always'})
        redis.start()
        try:
            yield target.stores(f'redis://127.0.0.1:{redis.port}/0')
        finally:
            redis.stop()
        return
    kind = sql.PostgreSQL if store == 'postgresql' else sql.MariaDB
    server = sql.start(kind)
    try:
        yield with_database(server.database())
    finally:
        server.stop()


def prepare(server: Zaqar, lines: str) -> None:
    """Create the tables of a service whose configuration has these lines."""
    if 'sqlalchemy' in lines:
        done = server.run('upgrade', 'head', program='sql_db_manage')
        assert done.returncode == 0, done.stderr


class Soak:
    """A service, a queue, and subscribers who note what comes.

    :param lines: see :func:`configuration`
    :param filler: bytes that bodies have beside what is needed
    """

    def __init__(self, lines: str, subscribers: int, filler: int = 0) -> None:
        self._filler = 'x' * filler
        self._folder = tempfile.TemporaryDirectory(prefix='zaqar-notify-')
        rest = _REST.format(database=lines)
        self._server = Zaqar(
            pathlib.Path(self._folder.name), rest=rest, workers=2
        )
        prepare(self._server, lines)
        self._receiver = Receiver(0.001)
        self._paths = [f'/{number}' for number in range(subscribers)]
        self._numbers = itertools.count()

    def __enter__(self) -> Soak:
        self._server.start()
        for path in self._paths:
            answer = requests.post(
                f'{self._server.url}/v2/queues/soak/subscriptions',
                json={
                    'subscriber': f'{self._receiver.url}{path}',
                    'ttl': 86_400,
                },
                headers=headers(),
                timeout=10,
            )
            assert answer.status_code == 201, answer.text
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.stop()
        self._receiver.stop()
        self._folder.cleanup()

    def round(self, posts: int, chance: random.Random) -> Round:
        """Post, kill, and wait for all to arrive."""
        began = time.monotonic()
        before = len(self._receiver.got())
        killer = Killer(self._server, chance)
        numbers = self._post(posts)
        killer.stop()
        wanted = {(path, n) for path in self._paths for n in numbers}
        end = time.monotonic() + PATIENCE
        while True:
            got = self._receiver.got()[before:]
            counts = collections.Counter((path, n) for path, n, _ in got)
            missing = wanted - counts.keys()
            if not missing or time.monotonic() > end:
                break
            time.sleep(0.5)
        # What is on its way again comes with the next round otherwise.
        killer.close()
        return Round(
            len(numbers),
            len(wanted),
            len(missing),
            sum(counts[pair] - 1 for pair in wanted if counts[pair]),
            killer.kills,
            time.monotonic() - began,
        )

    def _post(self, posts: int) -> set[int]:
        done: set[int] = set()
        threads = [
            threading.Thread(target=self._poster, args=(posts, done))
            for _ in range(POSTERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return done

    def _poster(self, posts: int, done: set[int]) -> None:
        with requests.Session() as session:
            while len(done) < posts:
                number = next(self._numbers)
                body = {
                    'n': number,
                    'at': time.time(),
                    'filler': self._filler,
                }
                try:
                    answer = session.post(
                        f'{self._server.url}/v2/queues/soak/messages',
                        json={'messages': [{'body': body, 'ttl': 300}]},
                        headers=headers(),
                        timeout=10,
                    )
                except requests.RequestException:
                    # Nobody knows; it may arrive and need not.
                    time.sleep(0.05)
                    continue
                if answer.status_code == 201:
                    done.add(number)


def headers() -> dict[str, str]:
    """Return what a client of a project of its own sends."""
    return {'Client-ID': str(uuid.uuid4()), 'X-Project-Id': 'soak'}


if __name__ == '__main__':
    sys.exit(main())
