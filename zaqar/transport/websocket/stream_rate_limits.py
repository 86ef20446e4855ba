# SPDX-License-Identifier: Apache-2.0
"""Rate limits of streams, whose messages count as deliveries.

:source: reference/http, "Quotas and rates"
"""

import functools
from collections.abc import Callable

from zaqar.controllers.rate_limits import DELIVERIES, Throttle
from zaqar.transport.websocket.feed_turns_on_event_loop import Loop
from zaqar.transport.websocket.worker_threads import Workers


class StreamRateLimits:
    """Lets the messages of streams pass, each project as its rate allows.

    :param throttle: None if there are no rates
    """

    def __init__(
        self, throttle: Throttle | None, workers: Workers, loop: Loop
    ) -> None:
        self._throttle = throttle
        if throttle is not None and not throttle.limits(DELIVERIES):
            self._throttle = None
        self._workers = workers
        self._loop = loop

    def pay(self, project: str, count: int, paid: Callable[[], None]) -> bool:
        """Count messages that are about to be sent.

        :param paid: called when they may be sent, unless that is at once
        :returns: whether it is
        """
        if self._throttle is None:
            return True
        pause = functools.partial(
            self._throttle.pause, project, [DELIVERIES], count
        )
        if self._throttle.is_shared:
            answered = functools.partial(self._answered, project, count, paid)
            # It may wait for a server, which the loop must not.
            self._workers.submit(pause, answered, project)
            return False
        seconds = pause()
        if seconds:
            self._later(seconds, project, count, paid)
        return not seconds

    def _answered(
        self,
        project: str,
        count: int,
        paid: Callable[[], None],
        seconds: float,
    ) -> None:
        if seconds:
            self._later(seconds, project, count, paid)
        else:
            paid()

    def _later(
        self,
        seconds: float,
        project: str,
        count: int,
        paid: Callable[[], None],
    ) -> None:
        again = functools.partial(self._again, project, count, paid)
        self._loop.call_later(seconds, again)

    def _again(
        self, project: str, count: int, paid: Callable[[], None]
    ) -> None:
        if self.pay(project, count, paid):
            paid()
