# SPDX-License-Identifier: Apache-2.0
"""Coordinates waiting: what requests of this process wait for, and where.

A queue may be created only while it is waited for, be deleted and created
again, or move to another pool: it is looked up again from time to time.
"""

import collections
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zaqar.errors import StoreUnavailable
from zaqar.objects import NewMessage, Scope
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import MessageStore
from zaqar.waiting.change_listener import ChangeListener
from zaqar.waiting.waiters import Waiters

LOG = logging.getLogger(__name__)

#: Seconds between look-ups, and the most queues of each.
PERIOD = 1.0
MOST_LOOKED_UP = 200

#: Seconds for which changes of a queue are listened for after the last request
#: that has waited for it.
LINGER = 10.0


@dataclass(slots=True, eq=False)
class _Waited:
    """A queue that is, or was lately, waited for.

    :ivar qid: '' while the queue does not exist, or is not known
    :ivar looked_up: when, on the monotonic clock
    :ivar left: when the last request was answered
    :ivar is_gone: whether another process has deleted or moved it
    """

    scope: Scope
    qid: str = ''
    listener: ChangeListener | None = None
    looked_up: float = -math.inf
    left: float = 0.0
    is_gone: bool = False


class WaitedQueues:
    """Knows what is waited for; starts what listens for changes.

    :ivar waiters: the requests that wait
    """

    _catalogue: Catalogue

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.waiters = Waiters(self, monotonic)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waited: dict[Scope, _Waited] = {}
        self._by_qid: dict[str, _Waited] = {}
        self._listeners: dict[int, ChangeListener] = {}
        self._threads: list[threading.Thread] = []
        self._expires = threading.Event()
        self._looks_up = threading.Event()
        self._is_closed = False

    def use(self, catalogue: Catalogue) -> None:
        """Find queues in a catalogue; called before anything waits."""
        self._catalogue = catalogue
        catalogue.created = self._created

    def begin(self, scope: Scope) -> None:
        """Listen for changes of a queue."""
        with self._lock:
            if scope in self._waited:
                return
            self._waited[scope] = _Waited(scope)
            self._start()
        self._looks_up.set()

    def end(self, scope: Scope) -> None:
        """Do so no longer, if nobody comes soon."""
        waited = self._waited.get(scope)
        if waited is not None:
            waited.left = self._monotonic()

    def expire_at(self, until: float) -> None:
        """Answer requests whose time is over by then."""
        self._expires.set()

    def posted(self, qid: str, messages: Sequence[NewMessage]) -> None:
        """Handle that this process has posted messages."""
        waited = self._by_qid.get(qid)
        listener = waited.listener if waited else None
        if waited is None or listener is None or listener.hears_own:
            return
        count = sum(not message.delay for message in messages)
        if count:
            self.waiters.announce(waited.scope, count)
        if count < len(messages):
            listener.hint(qid)

    def released(self, qid: str) -> None:
        """Handle that this process has ended or changed holds of a claim."""
        waited = self._by_qid.get(qid)
        if waited is not None and waited.listener is not None:
            waited.listener.hint(qid)

    def deleted(self, qid: str) -> None:
        """Handle that this process has deleted messages."""
        waited = self._by_qid.get(qid)
        if waited is not None and waited.listener is not None:
            waited.listener.hint_of_deletion(qid)

    def close(self) -> None:
        """Answer all that wait, and stop."""
        self.waiters.close()
        self._is_closed = True
        self._looks_up.set()
        self._expires.set()
        for thread in self._threads:
            thread.join()
        for listener in self._listeners.values():
            listener.close()
        for listener in self._listeners.values():
            listener.join()

    def _created(self, scope: Scope) -> None:
        waited = self._waited.get(scope)
        if waited is not None:
            # Perhaps it was deleted before.
            waited.looked_up = -math.inf
            self._looks_up.set()

    def _gone(self, scope: Scope) -> None:
        """Look a queue up that another process has deleted, or moved."""
        waited = self._waited.get(scope)
        if waited is not None:
            waited.is_gone = True
        self._created(scope)

    def _start(self) -> None:
        if not self._threads:
            self._threads = [
                threading.Thread(target=loop, name=name, daemon=True)
                for loop, name in (
                    (self._expire, 'waits-that-end'),
                    (self._look_up_regularly, 'waited-queues'),
                )
            ]
            for thread in self._threads:
                thread.start()

    def _expire(self) -> None:
        while not self._is_closed:
            self._expires.clear()
            until = self.waiters.expire()
            left = until - self._monotonic()
            self._expires.wait(min(left, threading.TIMEOUT_MAX))

    def _look_up_regularly(self) -> None:
        while not self._is_closed:
            try:
                self._look_up_some()
            except Exception:
                # A fault must not end the thread: requests would wait in vain.
                LOG.exception('Queues that are waited for are not looked up')
            self._looks_up.wait(PERIOD if self._waited else None)
            # What comes from now on is seen by the next round.
            self._looks_up.clear()

    def _look_up_some(self) -> None:
        now = self._monotonic()
        with self._lock:
            waited = list(self._waited.values())
        due = []
        for one in waited:
            if not self.waiters.has(one.scope):
                if now - one.left >= LINGER:
                    self._forget(one)
            elif now - one.looked_up >= PERIOD:
                due.append(one)
        for one in _by_turns(due)[:MOST_LOOKED_UP]:
            one.looked_up = now
            self._look_up(one)

    def _forget(self, waited: _Waited) -> None:
        with self._lock:
            if self.waiters.has(waited.scope):
                return
            del self._waited[waited.scope]
            self._set_place(waited, '', None)

    def _look_up(self, waited: _Waited) -> None:
        """Find the store of a queue; listen there."""
        try:
            # What is cached may be older than that.
            catalogue = self._catalogue
            find = catalogue.read if waited.is_gone else catalogue.find
            queue = find(waited.scope)
            store = None if queue is None else self._catalogue.store(queue)
        except StoreUnavailable:
            # It is looked up again; new requests for it fail.
            return
        qid = '' if queue is None else queue.qid
        with self._lock:
            listener = waited.listener
            if listener is not None and listener.store is not store:
                listener = None
            if qid == waited.qid and (listener is not None or not qid):
                return
            if store is not None and listener is None:
                listener = self._listener(store)
            self._set_place(waited, qid, listener)

    def _set_place(
        self, waited: _Waited, qid: str, listener: ChangeListener | None
    ) -> None:
        if waited.qid and waited.listener is not None:
            del self._by_qid[waited.qid]
            waited.listener.remove(waited.qid)
            if waited.listener.is_idle and waited.listener is not listener:
                del self._listeners[id(waited.listener.store)]
                waited.listener.close()
        waited.is_gone &= qid == waited.qid
        waited.qid, waited.listener = qid, listener
        if qid and listener is not None:
            self._by_qid[qid] = waited
            listener.add(qid, waited.scope)

    def _listener(self, store: MessageStore) -> ChangeListener:
        """Return the listener of a store, started if there is none."""
        listener = self._listeners.get(id(store))
        if listener is None:
            listener = ChangeListener(
                store, self.waiters, self._monotonic, self._gone
            )
            self._listeners[id(store)] = listener
            listener.start()
        return listener


def _by_turns(waited: Iterable[_Waited]) -> list[_Waited]:
    """Return queues in the order in which they are looked up.

    Projects take turns, and so do their queues that exist with those that do
    not: of these there may be any number.
    """
    turns: collections.Counter[tuple[str, bool]] = collections.Counter()
    ranks: dict[_Waited, int] = {}
    for one in sorted(waited, key=lambda one: one.looked_up):
        group = one.scope.project, bool(one.qid)
        ranks[one] = turns[group]
        turns[group] += 1
    return sorted(ranks, key=ranks.__getitem__)
