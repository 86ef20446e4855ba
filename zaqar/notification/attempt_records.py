# SPDX-License-Identifier: Apache-2.0
"""What is recorded of attempts.

:source: reference/delivery, "Attempts"
"""

from typing import Any

from zaqar.controllers.delivery_attempt_history import Attempt
from zaqar.controllers.delivery_attempt_history import Outcome as Result
from zaqar.notification.claimed_delivery import Attempted


def of(made: Attempted, now: int, result: Result, **more: Any) -> Attempt:
    """Return an attempt that has just ended as it is recorded.

    :param now: milliseconds
    :param more: further members
    """
    spent = int(made.seconds * 1000)
    return Attempt(
        made.delivery.id,
        now - spent,
        made.delivery.attempt,
        result,
        made.outcome.status or None,
        spent,
        made.outcome.reason,
        **more,
    )
