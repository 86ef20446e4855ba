# SPDX-License-Identifier: Apache-2.0
"""Greenlets of the event loop that answer requests; threads have the others.

A request that waits for nothing but Redis or SQLite is begun, continued and
ended in the loop's own thread. To hand it to another one and its answer back
costs more than to answer it, since both threads need the interpreter.
"""

from collections.abc import Callable

from zaqar.event_loop_greenlets import Hub
from zaqar.transport import requests_waiting_for_thread_or_greenlet
from zaqar.transport.limited_greenlets import LimitedGreenlets
from zaqar.transport.requests_fit_for_event_loop import (
    LONGEST_BODY,
    MOST_OBJECTS,
    is_fit,
)
from zaqar.transport.requests_waiting_for_thread_or_greenlet import (
    RequestLine,
    Work,
)
from zaqar.transport.wsgi.server.request_parser import Request
from zaqar.transport.wsgi.server.request_threads import RequestThreads

#: Characters of the longest ``Accept`` header of a request that the loop
#: answers.
LONGEST_ACCEPT = 200


def fits(request: Request) -> bool:
    """Tell whether the loop may answer a request itself."""
    body, environ = request.body, request.environ
    accept = environ.get('HTTP_ACCEPT', '')
    return (
        isinstance(body, bytes)
        and len(body) <= LONGEST_BODY
        and body.count(b'{') <= MOST_OBJECTS
        and is_fit(request.method, environ['PATH_INFO'])
        # Streams, browsers, and links, whose layers may do more.
        and 'event-stream' not in accept
        and len(accept) <= LONGEST_ACCEPT
        and 'HTTP_ORIGIN' not in environ
        and 'HTTP_URL_SIGNATURE' not in environ
        and 'url_signature=' not in environ['QUERY_STRING']
    )


class RequestGreenlets:
    """Answers requests in greenlets, a limited number at a time.

    What does not fit, or was woken, threads answer. All is called in the loop,
    except for what threads do.

    :param count: the greenlets
    :param threads: for the rest
    """

    def __init__(self, hub: Hub, count: int, threads: RequestThreads) -> None:
        self._hub = hub
        self._greenlets = LimitedGreenlets(hub, count, threads.waiting.held)
        self._threads = threads

    @property
    def waiting(self) -> RequestLine:
        """Return what waits, for a greenlet or else for a thread."""
        own = self._greenlets.waiting
        return own if own.count else self._threads.waiting

    @property
    def are_crowded(self) -> bool:
        """Tell whether what comes now waits for long."""
        return (
            self._greenlets.waiting.count
            >= requests_waiting_for_thread_or_greenlet.MANY
            or self._threads.are_crowded
        )

    @property
    def are_idle(self) -> bool:
        """Tell whether there is nothing to do."""
        return self._greenlets.are_idle and self._threads.are_idle

    def start(self) -> None:
        self._threads.start()

    def put(
        self,
        work: Work,
        size: Callable[[], int] = lambda: 0,
        owner: Callable[[], str] = lambda: '',
        request: Request | None = None,
    ) -> bool:
        """Have work done; see :meth:`RequestThreads.put`."""
        if request is None or not (self._hub.is_running and fits(request)):
            return self._threads.put(work, size, owner)
        return self._greenlets.put(work, size, owner)

    def put_woken(self, work: Work) -> None:
        """Have work done that has waited for messages before."""
        self._threads.put_woken(work)
