# SPDX-License-Identifier: Apache-2.0
"""The time of a post in its messages, by which who receives one measures."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

#: Member of a body: when it was posted, in nanoseconds of the wall clock,
#: which other processes share.
_POSTED_AT = 'posted_at'


def stamped(messages: Sequence[Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return messages to be posted now."""
    now = time.time_ns()
    return [
        {**one, 'body': {_POSTED_AT: now, 'sample': one.get('body')}}
        for one in messages
    ]


def seconds_since_post(body: Any) -> float | None:
    """Return the age of a received body; None if it was not stamped."""
    posted = body.get(_POSTED_AT) if isinstance(body, dict) else None
    if not isinstance(posted, int):
        return None
    return (time.time_ns() - posted) / 1e9
