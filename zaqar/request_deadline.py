# SPDX-License-Identifier: Apache-2.0
"""The deadline of a request, which all calls of stores for it share.

The dispatch of a request sets it for its thread, or its greenlet; drivers end
their own limits there at the latest. Work in the background has no deadline,
only these limits.
"""

import contextlib
import math
import time
from collections.abc import Iterator

from zaqar.current_request import OF_THREAD

#: Seconds after which the stores are waited for no longer. What is under way
#: then may take up to a second more.
REQUEST = 4.0

#: Seconds after which a request that waits for a thread is refused. With less
#: time left than its work takes, that is cut off, done or not: while too many
#: requests wait, hardly any would succeed.
LONGEST_WAIT = 3.0

TOO_MANY = 'Too many requests are waiting.'

#: Seconds that a request has at least to undo what it has changed, however
#: late it fails.
UNDO = 2.0


def note_waiting(seconds: float) -> None:
    """Say how long the request of this thread has waited for a thread."""
    OF_THREAD.request.waited = seconds


def is_too_late() -> bool:
    """Tell whether the request has waited for too long to be begun."""
    return OF_THREAD.request.waited > LONGEST_WAIT


def begin(seconds: float = REQUEST) -> float:
    """Set the deadline of a request; pass the result to :func:`end`."""
    request = OF_THREAD.request
    former = request.end
    request.end = time.monotonic() + seconds - request.waited
    return former


def end(former: float) -> None:
    """Restore what was before :func:`begin`."""
    OF_THREAD.request.end = former


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Replace the deadline of this thread for a while."""
    request = OF_THREAD.request
    former, request.end = request.end, time.monotonic() + seconds
    try:
        yield
    finally:
        end(former)


@contextlib.contextmanager
def undoing() -> Iterator[None]:
    """Leave time to undo a change that a store has made already.

    What has failed often failed because the time was over, and stores attempt
    nothing any more then: the change would stay.
    """
    request = OF_THREAD.request
    former = request.end
    request.end = max(former, time.monotonic() + UNDO)
    try:
        yield
    finally:
        end(former)


def cap(moment: float) -> float:
    """Return the earlier one of a monotonic time and the deadline."""
    end_of_request = OF_THREAD.request.end
    return moment if moment < end_of_request else end_of_request


def left(most: float) -> float:
    """Return the seconds until the deadline, from 0 to ``most``."""
    moment = OF_THREAD.request.end
    if moment == math.inf:
        return most
    return min(most, max(moment - time.monotonic(), 0.0))
