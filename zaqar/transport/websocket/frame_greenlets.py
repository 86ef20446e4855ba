# SPDX-License-Identifier: Apache-2.0
"""Frames that the event loop answers itself, in greenlets.

To hand a frame to a thread and its answer back costs more than to answer it.
Threads have what may block or takes long, as over HTTP.
"""

import functools
import logging
import time

from zaqar import request_deadline
from zaqar.api import operation_table
from zaqar.api.operation import READ
from zaqar.api.operation_declarations import streams
from zaqar.errors import InvalidRequest
from zaqar.event_loop_greenlets import Hub
from zaqar.transport.limited_greenlets import LimitedGreenlets
from zaqar.transport.requests_fit_for_event_loop import (
    LONGEST_BODY,
    MOST_OBJECTS,
    is_fit,
)
from zaqar.transport.websocket import frame_codecs, frame_parsing
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.worker_threads import Done, Work

LOG = logging.getLogger(__name__)

#: Actions whose HTTP requests are fit.
_ACTIONS = frozenset(
    row.name
    for row in operation_table.OPERATIONS
    if row not in streams.OPERATIONS and is_fit(row.method or READ, row.target)
)


def fits(frame: Frame) -> bool:
    """Tell whether the loop may answer a frame itself.

    What is decoded for that is noted.
    """
    data, is_binary = frame.data, frame.is_binary
    if len(data) > LONGEST_BODY or (
        # Of each message, in MessagePack, at least the name of a member.
        data.count(b'body' if is_binary else b'{') > MOST_OBJECTS
    ):
        return False
    try:
        frame.opened = frame_parsing.opened(
            data, frame_codecs.codec(is_binary)
        )
    except InvalidRequest:
        return False
    action = frame.opened[1]
    return isinstance(action, str) and action in _ACTIONS


class FrameGreenlets:
    """Answers frames in greenlets, a limited number at a time.

    All is called in the loop.
    """

    def __init__(self, hub: Hub, count: int) -> None:
        self._hub = hub
        self._greenlets = LimitedGreenlets(hub, count)
        self._ended: list[tuple[Done, object]] = []

    @property
    def are_idle(self) -> bool:
        """Tell whether there is nothing to do."""
        return self._greenlets.are_idle and not self._ended

    def submit(self, work: Work, done: Done, owner: str) -> None:
        """Have work done; its result is given to ``done``, on the loop.

        :param owner: whose turn it needs
        """
        self._greenlets.put(
            functools.partial(self._do, work, done, time.monotonic()),
            _nothing,
            lambda: owner,
        )

    def _do(self, work: Work, done: Done, since: float) -> None:
        request_deadline.note_waiting(time.monotonic() - since)
        result = work()
        # Not in the greenlet: the loop begins further ones with it.
        if not self._ended:
            self._hub.loop.call_soon(self._deliver)
        self._ended.append((done, result))

    def _deliver(self) -> None:
        # What ends from now on is for the next round of the loop.
        ended, self._ended = self._ended, []
        for done, result in ended:
            try:
                done(result)
            except Exception:
                # No failure of the others.
                LOG.exception('An answer could not be sent')


def _nothing() -> int:
    return 0
