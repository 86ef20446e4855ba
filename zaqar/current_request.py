# SPDX-License-Identifier: Apache-2.0
"""What is known of the request that a thread, or a greenlet of it, answers.

A thread has one request after another. The greenlets of an event loop share a
thread: each has an object of its own, and whoever lets others run puts it back
afterwards; see :mod:`zaqar.event_loop_greenlets`.
"""

from __future__ import annotations

import math
import threading
from typing import Any


class CurrentRequest:
    """One request after another.

    :ivar end: its deadline, by the monotonic clock
    :ivar waited: seconds that it has waited to be begun
    :ivar request_id: what its log entries show
    :ivar global_id: the header of a request id that its caller has chosen
    :ivar project: the header of its project, as WSGI passes it
    :ivar greenlet: that of an event loop which answers it, None in a thread
    """

    __slots__ = (
        *('end', 'global_id', 'greenlet', 'project', 'request_id', 'waited'),
    )

    def __init__(self, greenlet: Any = None) -> None:
        self.end = math.inf
        self.waited = 0.0
        self.request_id = self.global_id = self.project = ''
        self.greenlet = greenlet

    def in_thread(self) -> CurrentRequest:
        """Return the same request for a thread that does a part of it."""
        other = CurrentRequest()
        for name in self.__slots__:
            if name != 'greenlet':
                setattr(other, name, getattr(self, name))
        return other


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.request = CurrentRequest()


#: That of the present thread.
OF_THREAD = _OfThread()
