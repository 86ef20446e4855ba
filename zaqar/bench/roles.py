# SPDX-License-Identifier: Apache-2.0
"""What the three kinds of workers do, one step at a time."""

from __future__ import annotations

import abc
import functools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from zaqar.bench.client import Claimed, Client, Failed
from zaqar.bench.samples import Pool
from zaqar.bench.timing import Samples

T = TypeVar('T')

CLAIM_TTL = 300
CLAIM_GRACE = 200

#: Seconds that a worker rests after a failure or when there is nothing to
#: do, lest it does nothing but ask.
REST = 0.02


@dataclass(frozen=True)
class Load:
    """What the workers of a role are told.

    :ivar claim: messages claimed at once
    :ivar list: messages listed at once
    :ivar post: messages posted at once
    :ivar bulk: delete the messages of a claim in one request
    """

    queues: Sequence[str]
    pool: Pool
    claim: int
    list: int
    post: int
    bulk: bool


@dataclass
class Tally:
    """What one worker has done.

    :ivar calls: by name of the call
    :ivar messages: claimed and deleted
    """

    calls: dict[str, Samples] = field(default_factory=dict)
    messages: int = 0

    def samples(self, call: str) -> Samples:
        """Return the durations of a call."""
        return self.calls.setdefault(call, Samples())


class Worker(abc.ABC):
    """A worker of a role, with a connection of its own."""

    #: Name of the role, as in the output.
    role: str

    def __init__(self, client: Client, load: Load) -> None:
        self._client = client
        self._load = load
        self._tally = Tally()

    def run(self, until: float) -> Tally:
        """Work to a moment of the monotonic clock; return what was done."""
        self._tally = Tally()
        while time.monotonic() < until:
            if not self._step(random.choice(self._load.queues)):
                time.sleep(REST)
        return self._tally

    @abc.abstractmethod
    def _step(self, queue: str) -> bool:
        """Do one round; return False when there was nothing to do."""

    def _timed(self, call: str, work: Callable[[], T]) -> T | None:
        """Do a call, and count it with its duration or its failure."""
        samples = self._tally.samples(call)
        began = time.perf_counter()
        try:
            answer = work()
        except Failed as failure:
            samples.fail(failure.reason)
            time.sleep(REST)
            return None
        samples.add(time.perf_counter() - began)
        return answer


class Producer(Worker):
    """Posts messages to random queues."""

    role = 'producer'

    def _step(self, queue: str) -> bool:
        messages = self._load.pool.draw(self._load.post)
        self._timed('post', lambda: self._client.post(queue, messages))
        return True


class Consumer(Worker):
    """Claims messages and deletes what it got."""

    role = 'consumer'

    def _step(self, queue: str) -> bool:
        claimed = self._timed('claim', lambda: self._claim(queue))
        if claimed is None:
            return False
        if self._load.bulk:
            self._delete_at_once(queue, claimed)
        else:
            self._delete_each(queue, claimed)
        return True

    def _claim(self, queue: str) -> Claimed | None:
        return self._client.claim(
            queue,
            ttl=CLAIM_TTL,
            grace=CLAIM_GRACE,
            limit=self._load.claim,
        )

    def _delete_at_once(self, queue: str, claimed: Claimed) -> None:
        self._deleted(
            lambda: self._client.delete_many(queue, claimed.message_ids),
            len(claimed.message_ids),
        )

    def _delete_each(self, queue: str, claimed: Claimed) -> None:
        for message_id in claimed.message_ids:
            delete = functools.partial(
                self._client.delete, queue, claimed.claim_id, message_id
            )
            self._deleted(delete, 1)

    def _deleted(self, work: Callable[[], None], count: int) -> None:
        before = self._tally.samples('delete').successful
        self._timed('delete', work)
        if self._tally.samples('delete').successful > before:
            self._tally.messages += count


class Observer(Worker):
    """Pages through queues, with a marker for each."""

    role = 'observer'

    def __init__(self, client: Client, load: Load) -> None:
        super().__init__(client, load)
        self._markers: dict[str, str | None] = {}

    def _step(self, queue: str) -> bool:
        before = self._markers.get(queue)
        after = self._timed(
            'list', lambda: self._client.list(queue, before, self._load.list)
        )
        # At the end it begins anew, so that there is always work.
        self._markers[queue] = after
        return True


#: By name of the role.
ROLES: dict[str, type[Worker]] = {
    worker.role: worker for worker in (Producer, Observer, Consumer)
}
