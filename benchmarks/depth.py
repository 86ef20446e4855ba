# SPDX-License-Identifier: Apache-2.0
"""Times of operations in a deep queue beside those in a shallow one.

Two databases, one with a shallow queue and one with a deep queue. The oldest
half of each is claimed, and every claim and page must skip it. Each round does
every operation once in both, under the same load of the machine, and restores
what it removed.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import msgspec

from benchmarks import bulk_rows, floor
from benchmarks.load import Connection, Step, WrongAnswerError
from benchmarks.report import Table
from benchmarks.requests import Requests
from benchmarks.target import BATCH, READER, Queue, Target, is_sql
from zaqar.errors import StoreUnavailable

P = ParamSpec('P')
T = TypeVar('T')

#: Messages of the shallow queue.
SHALLOW = 1000

#: How many times slower the deep queue may be.
MOST_RATIO = 1.25

#: Counts every message by specification.
EXEMPT = 'stats'

#: Of so many rounds one asks for the counts, which takes long.
STATS_EVERY = 10

#: Rounds before the clock runs, at most: servers learn their statements.
WARM_UP = 15

OPERATIONS = (
    'post 1',
    'get',
    'delete',
    'post 10',
    'list 10',
    'list 10, half way',
    'claim 5',
    'query claim',
    'renew claim',
    'release claim',
    'pop 10',
    EXEMPT,
)


class Timer:
    """How long each operation took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def run(
        self,
        name: str,
        call: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a call, note its time and return its result."""
        begin = time.perf_counter()
        result = call(*args, **kwargs)
        taken = time.perf_counter() - begin
        self.seconds.setdefault(name, []).append(taken)
        return result

    @contextlib.contextmanager
    def allowed_to_fail(self, name: str) -> Iterator[None]:
        """Note an answer that did not come in time as endless."""
        try:
            yield
        except (StoreUnavailable, WrongAnswerError):
            self.seconds.setdefault(name, []).append(math.inf)

    def median(self, name: str) -> float:
        """Return the time that half of the calls stayed below."""
        return statistics.median(self.seconds[name])


class Filled:
    """A queue of some depth, half of it claimed.

    :ivar middle: marker half way through what is free at first
    :ivar filling: seconds that it took to fill
    """

    def __init__(self, target: Target, depth: int) -> None:
        self.target = target
        self.queue: Queue = target.queue(f'depth-{depth}')
        begin = time.monotonic()
        self.middle = self._fill(depth)
        self.queue.claim(depth // 2)
        bulk_rows.settle(target.url)
        self.filling = time.monotonic() - begin

    def _fill(self, depth: int) -> str:
        """Return a marker half way through what will be free."""
        place = depth * 3 // 4
        if not is_sql(self.target.url):
            return self.queue.fill(depth)[place]
        ids = self.queue.post(min(depth, BATCH))
        bulk_rows.multiply(self.target.url, self.queue.qid, len(ids), depth)
        # An id is a sequence number and a random half; as a marker it need
        # not exist.
        return f'{int(ids[0][:16], 16) + place:016x}{ids[0][16:]}'


class AtStore:
    """Everything once, by calls to the message store."""

    def __init__(self, filled: Filled) -> None:
        self.timer = Timer()
        self._queue = filled.queue
        self._middle = filled.middle

    def round(self, *, with_stats: bool) -> None:
        """Do everything once."""
        run, queue = self.timer.run, self._queue
        (message_id,) = run('post 1', queue.post, 1)
        run('get', self._call('get'), [message_id])
        run('delete', self._call('delete'), message_id, claim_id=None)
        run('post 10', queue.post, 10)
        run('list 10', self._list)
        run('list 10, half way', self._list, self._middle)
        self._claim()
        run('pop 10', self._call('pop'), limit=10)
        if with_stats:
            with self.timer.allowed_to_fail(EXEMPT):
                run(EXEMPT, self._call('stats'))

    def close(self) -> None:
        """Do nothing: the store is not ours."""

    def _claim(self) -> None:
        run = self.timer.run
        claim_id = secrets.token_hex(16)
        terms = {'ttl': floor.CLAIM_TTL, 'grace': floor.GRACE}
        run(
            'claim 5',
            self._call('claim'),
            claim_id=claim_id,
            limit=floor.CLAIM,
            **terms,
        )
        run('query claim', self._call('claimed'), claim_id)
        run('renew claim', self._call('renew'), claim_id, **terms)
        run('release claim', self._call('release'), claim_id)

    def _call(self, name: str) -> Callable[..., Any]:
        method = getattr(self._queue.store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return method(
                self._queue.qid, *args, now=self._queue.now(), **kwargs
            )

        return call

    def _list(self, marker: str | None = None) -> None:
        self._call('list')(
            limit=floor.PAGE,
            marker=marker,
            exclude_client=READER,
            include_delayed=True,
        )


class OverHttp:
    """Everything once, by requests on one connection."""

    def __init__(self, filled: Filled) -> None:
        self.timer = Timer()
        self._connection = Connection(filled.target.port)
        self._requests = Requests(filled.queue)
        self._middle = filled.middle

    def round(self, *, with_stats: bool) -> None:
        """Do everything once."""
        make = self._requests
        posted = self._ask('post 1', make.post(1))
        message_id = posted['resources'][0].rpartition('/')[2]
        self._ask('get', make.get(message_id))
        self._ask('delete', make.delete(message_id))
        self._ask('post 10', make.post(10))
        self._ask('list 10', make.list())
        self._ask('list 10, half way', make.list(self._middle))
        self._claim()
        self._ask('pop 10', make.pop(10))
        if with_stats:
            with self.timer.allowed_to_fail(EXEMPT):
                self._ask(EXEMPT, make.stats())

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _claim(self) -> None:
        make = self._requests
        claim = self._ask('claim 5', make.claim())
        href, _, claim_id = claim['messages'][0]['href'].partition('?')
        href = f'{href.rpartition("/messages/")[0]}/claims/'
        href += claim_id.partition('=')[2]
        self._ask('query claim', make.claimed(href))
        self._ask('renew claim', make.renew(href))
        self._ask('release claim', make.release(href))

    def _ask(self, name: str, step: Step) -> Any:
        body = self.timer.run(name, self._connection.exchange, step)
        return msgspec.json.decode(body) if body else None


def measure(
    way: type[AtStore] | type[OverHttp],
    queues: Sequence[Filled],
    rounds: int,
) -> Sequence[Timer]:
    """Return the times in each of the queues."""
    sides = [way(queue) for queue in queues]
    for number in range(-min(WARM_UP, rounds // 2), rounds):
        if number == 0:
            for side in sides:
                side.timer = Timer()
        for side in sides[:: -1 if number % 2 else 1]:
            side.round(with_stats=number % STATS_EVERY == 0)
    for side in sides:
        side.close()
    return [side.timer for side in sides]


def table(
    title: str,
    depth: int,
    at_store: Sequence[Timer],
    over_http: Sequence[Timer],
) -> Table:
    """Return the times as a table."""
    head = ['median ms of']
    for level in ('store', 'HTTP'):
        head += [f'{level} {SHALLOW:,}', f'{level} {depth:,}', 'ratio']
    times = Table(title, [*head, ''])
    for name in OPERATIONS:
        cells: list[str] = []
        ratios = []
        for timers in (at_store, over_http):
            low, high = (timer.median(name) for timer in timers)
            ratios.append(high / low)
            cells += [_ms(low), _ms(high), f'{high / low:.2f}']
        times.rows.append([name, *cells, _remark(name, max(ratios))])
    return times


def _ms(seconds: float) -> str:
    return 'fails' if math.isinf(seconds) else f'{seconds * 1000:.2f}'


def _remark(name: str, ratio: float) -> str:
    if name == EXEMPT:
        return 'exempt: counts all'
    return 'DEEP' if ratio > MOST_RATIO else ''
