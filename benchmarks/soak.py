# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.soak``: messages under kills.

Clients post while workers and the supervisor are killed at random moments.
Afterwards every acknowledged message must be there exactly once, in order and
under its id, every post of unknown outcome as a whole at most once, and
nothing else. At the end the servers work without kills for a while, and their
memory must not grow.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import random
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks import (
    databases,
    ledger,
    machine,
    program_options,
    report,
    soak_clients,
    target,
)
from benchmarks.killer import KINDS, Killer
from benchmarks.ledger import Outcome, Post
from zaqar.tests.servers.zaqar import Zaqar

WORKERS = 3

#: Posts per death.
PER_KILL = 1250

#: How far the memory of a worker may grow between a third of the same work
#: over and over and its end, in bytes. Connections to SQLite keep pages, hence
#: it is not zero.
MOST_GROWTH = 16 << 20

#: Faults that are shown of each round.
SHOWN = 10

SECTION = 'Soak'


@dataclass
class Soak:
    """A server to be tortured, and what is known of it."""

    server: Zaqar
    options: argparse.Namespace
    project: str = field(
        default_factory=lambda: f'soak-{secrets.token_hex(6)}'
    )
    rounds: dict[str, Sequence[Post]] = field(default_factory=dict)
    kills: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def round(self, number: int) -> None:
        """Post, kill, compare; print a line."""
        begin = time.monotonic()
        queue = f'round-{number}'
        posting = soak_clients.Posting(
            self.server.port,
            self.project,
            queue,
            self.options.posts,
            self.options.seed,
        )
        killer = Killer(
            self.server, random.Random(f'{self.options.seed} {queue}')
        )
        self._torture(posting, killer)
        self.rounds[queue] = posting.posts
        faults = [*posting.faults, *killer.faults]
        faults += self._compare(queue)
        self.kills += killer.count.total()
        self.slowest = max(self.slowest, killer.slowest)
        self._tell(number, killer, faults, time.monotonic() - begin)

    def compare_all(self) -> None:
        """See that later deaths have not harmed earlier rounds."""
        begin = time.monotonic()
        faults = [
            line for queue in self.rounds for line in self._compare(queue)
        ]
        verdict = self._verdict(faults)
        _say(
            f'all rounds again: {len(self.rounds)} queues in '
            f'{time.monotonic() - begin:.1f} s; {verdict}'
        )

    def work_in_peace(self) -> str:
        """Have the same done for a while; return how memory went."""
        third = self.options.posts // 3
        first = self._work('peace-1', third)
        last = self._work('peace-2', self.options.posts - third)
        growth = max(last.get(pid, 0) - size for pid, size in first.items())
        text = (
            f'memory of workers under load: {_mib(first.values())} after a '
            f'third of the work, {_mib(last.values())} at the end '
            f'({growth / 2**20:+.1f} MiB)'
        )
        faults = []
        if growth > MOST_GROWTH:
            faults.append('the memory of a worker grows')
        if first.keys() != last.keys():
            faults.append('workers died though nobody killed them')
        _say(f'{text}; {self._verdict(faults)}')
        return text

    def _torture(self, posting: soak_clients.Posting, killer: Killer) -> None:
        dice = random.Random(f'{self.options.seed} {len(self.rounds)}')
        posts = self.options.posts
        count = max(len(KINDS), posts // PER_KILL)
        kinds = [*KINDS, *dice.choices(KINDS, k=count - len(KINDS))]
        dice.shuffle(kinds)
        moments = sorted(dice.sample(range(posts), min(count, posts)))
        for moment, kind in zip(moments, kinds, strict=False):
            posting.wait_for(moment)
            killer.strike(kind)
        posting.join()

    def _compare(self, queue: str) -> list[str]:
        posts = self.rounds[queue]
        most = 2 * sum(len(post.bodies) for post in posts)
        client = soak_clients.Client(self.server.port, self.project)
        try:
            listing = soak_clients.listing(client, queue, most)
        except soak_clients.UnexpectedAnswerError as error:
            return [str(error)]
        finally:
            client.close()
        return ledger.violations(posts, listing)

    def _work(self, prefix: str, count: int) -> dict[int, int]:
        """Have work done by many; return the memory of each worker."""
        share = count // soak_clients.POSTERS
        threads = [
            threading.Thread(
                target=self._work_alone, args=(f'{prefix}-{number}', share)
            )
            for number in range(soak_clients.POSTERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {pid: machine.rss(pid) for pid in self.server.workers()}

    def _work_alone(self, queue: str, count: int) -> None:
        client = soak_clients.Client(self.server.port, self.project)
        try:
            soak_clients.work(client, queue, count)
        except soak_clients.UnexpectedAnswerError as error:
            self.faults.append(str(error))
        finally:
            client.close()

    def _tell(
        self,
        number: int,
        killer: Killer,
        faults: Sequence[str],
        seconds: float,
    ) -> None:
        counts = ledger.counts(self.rounds[f'round-{number}'])
        kills = ', '.join(f'{killer.count[kind]} {kind}' for kind in KINDS)
        sizes = [machine.rss(pid) for pid in self.server.workers()]
        _say(
            f'round {number}/{self.options.rounds}: '
            f'{counts.get(Outcome.ACKNOWLEDGED, 0)} acknowledged, '
            f'{counts.get(Outcome.UNKNOWN, 0)} unknown; killed: {kills}; '
            f'memory {_mib(sizes)}; {seconds:.1f} s; '
            f'{self._verdict(faults)}'
        )

    def _verdict(self, faults: Sequence[str]) -> str:
        self.faults += faults
        if not faults:
            return 'ok'
        shown = ''.join(f'\n  {line}' for line in faults[:SHOWN])
        return f'{len(faults)} FAULTS:{shown}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    ((_, context),) = databases.chosen([options.store])
    begin = time.monotonic()
    with context as source, _server(source) as server:
        soak = Soak(server, options)
        facts = {'Store': source.title, **_run(soak)}
    summary = _summary(soak, time.monotonic() - begin)
    _say(summary)
    if options.markdown is not None:
        facts |= {'Load average at the end': machine.load()}
        shown = report.facts({**machine.description(), **facts})
        report.write_section(options.markdown, SECTION, f'{shown}\n{summary}')
    return 1 if soak.faults else 0


@contextlib.contextmanager
def _server(source: databases.Source) -> Iterator[Zaqar]:
    url = source.database()
    rest = target.settings(url, sweep=1)
    with tempfile.TemporaryDirectory(prefix='zaqar-soak-') as folder:
        server = Zaqar(pathlib.Path(folder), rest=rest, workers=WORKERS)
        target.create_tables(server, url)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _run(soak: Soak) -> Mapping[str, str]:
    """Do everything; return what a reader must know."""
    options = soak.options
    for number in range(1, options.rounds + 1):
        soak.round(number)
    soak.compare_all()
    return {
        'Settings': f'{WORKERS} workers, {soak_clients.POSTERS} posters, '
        f'{options.rounds} rounds of {options.posts} posts, seed '
        f'{options.seed}',
        'Workers': soak.work_in_peace(),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('soak', __doc__)
    add = parser.add_argument
    add('--rounds', type=int, default=20, help='(%(default)s)')
    add('--posts', type=int, default=10_000, help='per round (%(default)s)')
    add(
        '--store',
        default='sqlite',
        metavar='URL',
        help=f'database, or one of {", ".join(databases.OWN)}, which are '
        'started for it if they are installed (%(default)s)',
    )
    add(
        '--seed',
        type=int,
        default=secrets.randbits(32),
        help='of the moments and kinds of deaths (random)',
    )
    return parser.parse_args(arguments)


def _summary(soak: Soak, seconds: float) -> str:
    posts = [post for of_round in soak.rounds.values() for post in of_round]
    counts = ledger.counts(posts)
    return (
        f'{len(posts)} posts in {len(soak.rounds)} rounds, '
        f'{counts.get(Outcome.ACKNOWLEDGED, 0)} acknowledged, '
        f'{counts.get(Outcome.UNKNOWN, 0)} unknown, {soak.kills} deaths; '
        f'orphaned workers were gone within {soak.slowest:.1f} s; '
        f'{len(soak.faults)} faults; {seconds:.0f} s'
    )


def _mib(sizes: Collection[int]) -> str:
    mib = sorted(size / 2**20 for size in sizes)
    return f'{mib[0]:.0f}-{mib[-1]:.0f} MiB' if mib else '(no workers)'


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == '__main__':
    sys.exit(main())
