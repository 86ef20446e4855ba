# SPDX-License-Identifier: Apache-2.0
"""The deadline of a request, which all calls of stores for it share.

The dispatch of a request sets it for its thread; drivers end their own limits
there at the latest. Work in the background has no deadline, only these limits.
"""

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar, Token

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

_END: ContextVar[float] = ContextVar('deadline', default=math.inf)
_WAITED: ContextVar[float] = ContextVar('waited', default=0.0)


def note_waiting(seconds: float) -> None:
    """Say how long the request of this thread has waited for a thread."""
    _WAITED.set(seconds)


def is_too_late() -> bool:
    """Tell whether the request has waited for too long to be begun."""
    return _WAITED.get() > LONGEST_WAIT


def begin(seconds: float = REQUEST) -> Token[float]:
    """Set the deadline of a request; pass the result to :func:`end`."""
    return _END.set(time.monotonic() + seconds - _WAITED.get())


def end(token: Token[float]) -> None:
    """Restore what was before :func:`begin`."""
    _END.reset(token)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Replace the deadline of this thread for a while."""
    token = _END.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        end(token)


@contextlib.contextmanager
def undoing() -> Iterator[None]:
    """Leave time to undo a change that a store has made already.

    What has failed often failed because the time was over, and stores attempt
    nothing any more then: the change would stay.
    """
    token = _END.set(max(_END.get(), time.monotonic() + UNDO))
    try:
        yield
    finally:
        end(token)


def cap(moment: float) -> float:
    """Return the earlier one of a monotonic time and the deadline."""
    return min(moment, _END.get())


def left(most: float) -> float:
    """Return the seconds until the deadline, from 0 to ``most``."""
    moment = _END.get()
    if moment == math.inf:
        return most
    return min(most, max(moment - time.monotonic(), 0.0))
