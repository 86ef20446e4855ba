# SPDX-License-Identifier: Apache-2.0
"""The event loop of a notifier: it has attempts made, and results decided."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zaqar.controllers import rate_limits
from zaqar.controllers.rate_limits import Throttle
from zaqar.controllers.retry_policy_validation import DEFAULTS
from zaqar.errors import StoreUnavailable
from zaqar.notification.cached_subscription_lookup import SubscriptionLookup
from zaqar.notification.claimed_delivery_and_lease import ClaimedDelivery
from zaqar.notification.delivery_attempt import Attempts
from zaqar.notification.delivery_decision import (
    DeadLetter,
    decide,
    decide_without_room,
)
from zaqar.notification.host_fair_scheduler import Scheduler
from zaqar.notification.host_queue_and_health import Attempt
from zaqar.notification.pending_delivery import MAIL
from zaqar.notification.sender_interface import Verdict
from zaqar.notification.unwritten_delivery_decisions import TakenDecisions
from zaqar.notification.websocket_multicast_delivery import (
    WebSocketDeliveries,
)

LOG = logging.getLogger(__name__)

#: Seconds between two looks at attempts that may be slow.
CHECK_SECONDS = 0.05

#: Seconds after which an attempt is repeated if what follows from it could not
#: be found out.
UNKNOWN_PAUSE = 30


class DeliveryLoop:
    """A thread with an event loop, on which all attempts are made.

    :param permits: maximum number of attempts at a time that count; see
        :class:`~zaqar.notification.host_fair_scheduler.Scheduler`
    :param per_host: maximum number at one host
    :param throttle: keeps projects to their rates, None without any
    """

    def __init__(
        self,
        attempts: Attempts,
        subscriptions: SubscriptionLookup,
        sockets: WebSocketDeliveries,
        permits: int,
        per_host: int,
        chance: Callable[[], float] = random.random,
        throttle: Throttle | None = None,
    ) -> None:
        self._throttle = throttle
        self._attempts = attempts
        self._subscriptions = subscriptions
        self._sockets = sockets
        self._chance = chance
        self.scheduler: Scheduler[ClaimedDelivery] = Scheduler(
            permits, per_host, self._defer
        )
        self._loop = _new_loop()
        self._writers: dict[str, TakenDecisions] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._check: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(
            target=self._run, name='deliveries', daemon=True
        )

    def add(self, pool: str, writer: TakenDecisions) -> None:
        """Have decisions about the deliveries of a pool written."""
        self._writers[pool] = writer

    def start(self) -> None:
        self._thread.start()

    def offer(self, jobs: Iterable[ClaimedDelivery]) -> None:
        """Schedule jobs; called by other threads."""
        self._loop.call_soon_threadsafe(self._offer, jobs)

    def finish(self, patience: float) -> None:
        """Leave what is queued to others, and what is offered from now on.

        Returns when the attempts in progress have ended.

        :param patience: seconds for these
        """
        if self._thread.is_alive():
            stopping = asyncio.run_coroutine_threadsafe(
                self._stop(patience), self._loop
            )
            stopping.result()

    def stop(self) -> None:
        """End, once nothing is offered any more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _stop(self, patience: float) -> None:
        for job in self.scheduler.close():
            self._writer(job).leave(job)
        if self._check is not None:
            self._check.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self._attempts.close()
        # Transports close in the next round.
        await asyncio.sleep(0)

    def _offer(self, jobs: Iterable[ClaimedDelivery]) -> None:
        for job in jobs:
            self.scheduler.offer(job)
        self._begin_attempts()

    def _begin_attempts(self) -> None:
        while (attempt := self.scheduler.take()) is not None:
            self._begin(self._work(attempt))
        if self._check is None and self.scheduler.held:
            self._check = self._loop.call_later(CHECK_SECONDS, self._look)

    def _look(self) -> None:
        self._check = None
        self.scheduler.check()
        self._begin_attempts()

    def _begin(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, attempt: Attempt[ClaimedDelivery] | None) -> None:
        """Make an attempt, and further ones as long as there are any."""
        while attempt is not None:
            job, more, success = attempt.job, False, None
            try:
                # Another notifier has the jobs of a lost lease.
                if not job.is_lost:
                    more, success = await self._deliver(job)
            except asyncio.CancelledError:
                # For it alone, not for all of its notice.
                self._writer(job).leave(job)
                raise
            except StoreUnavailable:
                self._writer(job).leave(job)
            except Exception:
                # The others must go on.
                LOG.exception('Unexpected error in a delivery; it is retried')
                self._writer(job).leave(job)
            finally:
                self.scheduler.end(attempt, success, more=more)
            attempt = self.scheduler.take()
            self._begin_attempts()

    async def _deliver(self, job: ClaimedDelivery) -> tuple[bool, bool | None]:
        """Make the next attempt of a job, and decide what follows.

        :returns: whether to continue with the job at once, and whether the
            host is fine: None if nothing was sent
        """
        if self._throttle is not None and (
            pause := await self._pause(self._throttle, job)
        ):
            at = job.store.clock.now() + math.ceil(pause * 1000)
            self._writer(job).defer(job, at)
            return False, None
        if job.pending.sockets:
            return False, await self._sockets.deliver(job, self._writer(job))
        made = await self._attempts.make(job)
        if made is None:
            self._writer(job).finish(job)
            return False, None
        outcome = made.outcome
        gone_since, policy = None, DEFAULTS
        try:
            if outcome.verdict is Verdict.GONE:
                gone_since = await self._attempts.gone_since(job, made)
            elif outcome.verdict is Verdict.RETRY:
                policy = await self._attempts.read(
                    self._subscriptions.policy, made.subscription
                )
        except StoreUnavailable:
            # Not left to others, who would repeat it at once, on and on.
            at = job.store.clock.now() + UNKNOWN_PAUSE * 1000
            self._writer(job).defer(job, at)
            return False, False
        now = job.store.clock.now()
        decision = decide(
            outcome,
            policy,
            job.attempt,
            now,
            gone_since=gone_since,
            chance=self._chance(),
        )
        more = self._writer(job).take(job, made, decision, now)
        is_fine = outcome.verdict is not Verdict.RETRY
        return more, is_fine if made.is_sent else None

    async def _pause(self, throttle: Throttle, job: ClaimedDelivery) -> float:
        """Return the seconds until a project may make an attempt."""
        pending = job.pending
        amount = len(pending.sockets) * len(pending.messages) or 1
        names = [rate_limits.DELIVERIES]
        if job.host == MAIL:
            names.append(rate_limits.MAILS)
        if throttle.is_shared:
            read = self._attempts.read
            return await read(throttle.pause, job.project, names, amount)
        return throttle.pause(job.project, names, amount)

    def _defer(self, job: ClaimedDelivery, seconds: float) -> None:
        """Have a job stored for later, since its host has no room for it."""
        if not seconds:
            self._writer(job).leave(job)
            return
        # For a while it is deferred whatever the policy is.
        if self._deferred_too_long(job, seconds, DEFAULTS):
            self._begin(self._defer_again(job, seconds))

    async def _defer_again(self, job: ClaimedDelivery, seconds: float) -> None:
        """Give a job up if it was deferred for longer than it may be."""
        if job.pending.sockets:
            self._sockets.split(job, self._writer(job))
            return
        try:
            read = self._attempts.read
            subscription = await read(self._subscriptions.find, job.pending)
            if subscription is None:
                self._writer(job).finish(job)
                return
            policy = await read(self._subscriptions.policy, subscription)
        except StoreUnavailable:
            self._writer(job).leave(job)
            return
        if decision := self._deferred_too_long(job, seconds, policy):
            self._writer(job).give_up(job, subscription, decision)

    def _writer(self, job: ClaimedDelivery) -> TakenDecisions:
        return self._writers[job.pool]

    def _deferred_too_long(
        self, job: ClaimedDelivery, seconds: float, policy: Mapping[str, Any]
    ) -> DeadLetter | None:
        """Defer a job, unless it has waited for longer than a policy says."""
        now = job.store.clock.now()
        decision = decide_without_room(
            policy,
            now - job.pending.first_at,
            job.pending.deferrals,
            seconds,
            now,
            chance=self._chance(),
        )
        if isinstance(decision, DeadLetter):
            return decision
        self._writer(job).defer(job, decision.at, counts=True)
        return None


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
