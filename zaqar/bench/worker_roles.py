# SPDX-License-Identifier: Apache-2.0
"""The roles of workers: producer, consumer, observer."""

import abc
import functools
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from zaqar.bench.client_interface import (
    BenchClient,
    CallFailed,
    ClaimedMessages,
)
from zaqar.bench.post_timestamps import seconds_since_post, stamped
from zaqar.bench.request_durations import Durations
from zaqar.bench.sample_messages import SampleMessages

T = TypeVar('T')

CLAIM_TTL = 300
CLAIM_GRACE = 200

#: Seconds that a worker waits after a failure or when there is nothing to
#: do, so that it does not poll without pause.
REST = 0.02


@dataclass(frozen=True)
class Workload:
    """What the workers of every role send.

    :ivar claim: messages claimed at once
    :ivar list: messages listed at once
    :ivar post: messages posted at once
    :ivar bulk: delete the messages of a claim in one request
    :ivar wait: seconds that claims wait for messages at most, 0: not at all;
        less than a client does for an answer
    """

    queues: Sequence[str]
    messages: SampleMessages
    claim: int
    list: int
    post: int
    bulk: bool
    wait: int


@dataclass
class CallStatistics:
    """Requests of one worker.

    :ivar calls: durations by name of the call
    :ivar receipts: from posts to receipts of the messages
    :ivar messages: how many were claimed and deleted
    :ivar ended: when the last round ended, on the monotonic clock
    """

    calls: dict[str, Durations] = field(default_factory=dict)
    receipts: Durations = field(default_factory=Durations)
    messages: int = 0
    ended: float = 0.0

    def of(self, call: str) -> Durations:
        return self.calls.setdefault(call, Durations())


class Worker(abc.ABC):
    """A worker of a role, with a connection of its own.

    :param queues: those that it works at
    """

    #: Name of the role, as in the output.
    role: str

    def __init__(
        self, client: BenchClient, workload: Workload, queues: Sequence[str]
    ) -> None:
        self._client = client
        self._workload = workload
        self._queues = queues
        self._statistics = CallStatistics()

    def run(self, until: float) -> CallStatistics:
        """Work until a moment of the monotonic clock.

        Of claims that wait the last one may return a second after it.
        """
        self._statistics = CallStatistics(ended=until)
        while (left := until - time.monotonic()) > 0:
            if self._step(random.choice(self._queues), left):
                self._statistics.ended = max(until, time.monotonic())
            else:
                time.sleep(REST)
        return self._statistics

    @abc.abstractmethod
    def _step(self, queue: str, left: float) -> bool:
        """Do one round; return False if there was nothing to do.

        :param left: seconds until the end
        """

    def _timed(self, call: str, work: Callable[[], T]) -> T | None:
        """Make a call and record its duration or failure."""
        durations = self._statistics.of(call)
        began = time.perf_counter()
        try:
            answer = work()
        except CallFailed as failure:
            durations.fail(str(failure))
            time.sleep(REST)
            return None
        durations.add(time.perf_counter() - began)
        return answer


class Producer(Worker):
    """Posts messages to random queues."""

    role = 'producer'

    def _step(self, queue: str, left: float) -> bool:
        messages = self._workload.messages.draw(self._workload.post)
        self._timed(
            'post', lambda: self._client.post(queue, stamped(messages))
        )
        return True


class Consumer(Worker):
    """Claims messages and deletes them."""

    role = 'consumer'

    def _step(self, queue: str, left: float) -> bool:
        wait = min(math.ceil(left), self._workload.wait)
        claimed = self._timed('claim', lambda: self._claim(queue, wait))
        if claimed is None:
            return False
        for seconds in map(seconds_since_post, claimed.bodies):
            if seconds is not None:
                self._statistics.receipts.add(seconds)
        ids = claimed.message_ids
        if self._workload.bulk:
            self._delete(len(ids), self._client.delete_many, queue, ids)
        else:
            delete, claim_id = self._client.delete, claimed.claim_id
            for one in ids:
                self._delete(1, delete, queue, claim_id, one)
        return True

    def _claim(self, queue: str, wait: int) -> ClaimedMessages | None:
        return self._client.claim(
            queue,
            ttl=CLAIM_TTL,
            grace=CLAIM_GRACE,
            limit=self._workload.claim,
            wait=wait,
        )

    def _delete(
        self, count: int, call: Callable[..., None], *arguments: Any
    ) -> None:
        before = self._statistics.of('delete').successful
        self._timed('delete', functools.partial(call, *arguments))
        if self._statistics.of('delete').successful > before:
            self._statistics.messages += count


class Observer(Worker):
    """Pages through queues, with a marker for each."""

    role = 'observer'

    def __init__(
        self, client: BenchClient, workload: Workload, queues: Sequence[str]
    ) -> None:
        super().__init__(client, workload, queues)
        self._markers: dict[str, str | None] = {}

    def _step(self, queue: str, left: float) -> bool:
        before = self._markers.get(queue)
        after = self._timed(
            'list',
            lambda: self._client.list(queue, before, self._workload.list),
        )
        # At the end it starts over, so that there is always work.
        self._markers[queue] = after
        return True


#: By name of the role.
ROLES: dict[str, type[Worker]] = {
    worker.role: worker for worker in (Producer, Observer, Consumer)
}
