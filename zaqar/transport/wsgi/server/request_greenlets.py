# SPDX-License-Identifier: Apache-2.0
"""Greenlets of the event loop that answer requests; threads have the others.

A request that waits for nothing but Redis is begun, continued and ended in the
loop's own thread. To hand it to another one and its answer back costs more
than to answer it, since both threads need the interpreter.
"""

import functools
import re
from collections.abc import Callable

from zaqar.loop_greenlets import Hub
from zaqar.transport.wsgi.server import requests_waiting_for_their_turn
from zaqar.transport.wsgi.server.request_reader import Request
from zaqar.transport.wsgi.server.request_threads import RequestThreads
from zaqar.transport.wsgi.server.requests_waiting_for_their_turn import (
    RequestLine,
    Work,
)

#: Bytes of the longest body of a request that the loop answers: to check and
#: store more takes so long that the others would notice.
LONGEST_BODY = 64 * 1024

#: Braces of such a body, of which each message has at least one: thousands of
#: messages would fit into it.
MOST_OBJECTS = 64

#: Characters of the longest ``Accept`` header of such a request.
LONGEST_ACCEPT = 200

#: Requests that the loop answers: those that do little, and call no service
#: but the stores.
_FITTING = re.compile(
    r'GET /v2/queues/[^/]+'
    r'|(GET|POST|DELETE) /v2/(queues|topics)/[^/]+/messages(/[^/]+)?'
    r'|(GET|POST|PATCH|DELETE) /v2/queues/[^/]+/claims(/[^/]+)?'
)


def fits(request: Request) -> bool:
    """Tell whether the loop may answer a request itself."""
    body, environ = request.body, request.environ
    accept = environ.get('HTTP_ACCEPT', '')
    return (
        isinstance(body, bytes)
        and len(body) <= LONGEST_BODY
        and body.count(b'{') <= MOST_OBJECTS
        and _FITTING.fullmatch(f'{request.method} {environ["PATH_INFO"]}')
        is not None
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
        self._count = count
        self._threads = threads
        self._under_way = 0
        self._waiting = RequestLine()

    @property
    def waiting(self) -> RequestLine:
        """Return what waits, for a greenlet or else for a thread."""
        own = self._waiting
        return own if own.count else self._threads.waiting

    @property
    def are_crowded(self) -> bool:
        """Tell whether what comes now waits for long."""
        return (
            self._waiting.count >= requests_waiting_for_their_turn.MANY
            or self._threads.are_crowded
        )

    @property
    def are_idle(self) -> bool:
        """Tell whether there is nothing to do."""
        return not self._under_way and self._threads.are_idle

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
        if self._under_way == self._count:
            return self._waiting.add(work, size(), owner())
        self._under_way += 1
        self._hub.begin(functools.partial(self._do, work))
        return True

    def put_woken(self, work: Work) -> None:
        """Have work done that has waited for messages before."""
        self._threads.put_woken(work)

    def _do(self, work: Work) -> None:
        try:
            work()
        finally:
            if self._waiting.count:
                # Not at once: the loop has others to look after.
                self._hub.loop.call_soon(self._go_on)
            else:
                self._under_way -= 1

    def _go_on(self) -> None:
        """Begin what waits, in the place of what has ended."""
        work = self._waiting.take()
        if work is None:
            self._under_way -= 1
        else:
            self._hub.begin(functools.partial(self._do, work))
