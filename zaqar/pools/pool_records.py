# SPDX-License-Identifier: Apache-2.0
"""Records of pools.

The record of a pool is of kind ``pool``: ``uri``, ``weight``, ``options``,
``flavor``. A record of kind ``pooled`` says under the pool's name that a
queue may be there. It is written before the queue's own record and removed
after it, so that a pool without such records holds no queue. ``noted`` says
that this is so; pools that were adopted may hold queues without one.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.errors import Conflict, StoreUnavailable
from zaqar.objects import Data, Record
from zaqar.pools import uri_reservations
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import list_all, update

KIND = 'pool'

#: Milliseconds that a deletion may take.
CLOSING = 60_000


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as it is recorded.

    :ivar closing: the mark of a deletion that is under way, or ''
    :ivar closing_at: when it began
    :ivar gone: whether it has found the pool unused
    :ivar noted: whether all queues are registered; see above
    """

    name: str
    uri: str
    weight: int
    flavor: str | None
    options: Mapping[str, Any]
    closing: str = ''
    closing_at: int = 0
    gone: bool = False
    noted: bool = False

    def is_over(self, now: int) -> bool:
        """Tell whether its deletion must have ended by now."""
        return now - self.closing_at >= CLOSING

    def is_closed(self, now: int) -> bool:
        """Tell whether it takes no queues."""
        return self.gone or (bool(self.closing) and not self.is_over(now))


def pool_of(name: str, data: Data) -> Pool:
    closing = data.get('closing') or {}
    return Pool(
        name,
        data['uri'],
        data['weight'],
        data.get('flavor') or None,
        data.get('options') or {},
        closing.get('by', ''),
        closing.get('at', 0),
        bool(data.get('gone')),
        bool(data.get('noted')),
    )


class PoolRecords:
    """Reads and changes the records of pools.

    :param notify: called with the name of a pool whose record was changed
    """

    def __init__(
        self, management: ManagementStore, notify: Callable[[str], None]
    ) -> None:
        self._management = management
        self._notify = notify

    def all(self) -> Sequence[Pool]:
        """Return all pools, by name."""
        records = list_all(self._management, KIND, '')
        return [pool_of(record.name, record.data) for record in records]

    def get(self, name: str) -> Pool | None:
        record = self._management.get(KIND, '', name)
        return None if record is None else pool_of(name, record.data)

    def put(self, name: str, data: Data) -> None:
        """Record a pool, new or not.

        :raises Conflict: another one is being recorded with its URI
        :raises StoreUnavailable: the one of this name is being deleted
        """
        self._reserve_uri(name, data['uri'])
        former: str = data['uri']

        def edit(record: Record | None) -> Data:
            nonlocal former
            if record is None:
                return {**data, 'noted': True}
            old = pool_of(name, record.data)
            if old.gone and not old.is_over(self.now()):
                # Its deletion does not look at the record again.
                raise StoreUnavailable
            former = old.uri
            return {**record.data, **data, 'closing': None, 'gone': False}

        update(self._management, (KIND, '', name), edit)
        self._notify(name)
        if former != data['uri']:
            uri_reservations.release(self._management, former, name)

    def change(self, name: str, changes: Data) -> Pool | None:
        """Change members of a pool's record and return it, None if gone.

        :raises Conflict: another one is being recorded with its new URI
        """
        if 'uri' not in changes:
            return self._changed(name, changes)
        old = self.get(name)
        self._reserve_uri(name, changes['uri'])
        changed = self._changed(name, changes)
        if old is not None and changed is not None and old.uri != changed.uri:
            uri_reservations.release(self._management, old.uri, name)
        return changed

    def begin_deletion(self, name: str) -> str:
        """Let a pool take no more queues; return the mark of the deletion."""
        mark = secrets.token_hex(8)
        self._changed(name, {'closing': {'by': mark, 'at': self.now()}})
        return mark

    def give_up_deletion(self, name: str, mark: str) -> bool:
        """Let a pool take queues again; tell whether it had the mark."""
        return self._changed(name, {'closing': None}, mark) is not None

    def end_deletion(self, name: str, mark: str) -> bool:
        """Remove an unused pool.

        :returns: False, and it stays, if it does not have the mark any more
        """
        if self._changed(name, {'gone': True}, mark) is None:
            return False
        record = self._management.delete(KIND, '', name)
        self._notify(name)
        if record is not None:
            uri_reservations.release(
                self._management, record.data['uri'], name
            )
        return True

    def use(self, name: str) -> bool:
        """Tell whether a queue, registered already, may be placed in a pool.

        A deletion that was interrupted is given up.
        """
        pool = self.get(name)
        if pool is None or pool.is_closed(self.now()):
            return False
        return not pool.closing or self.give_up_deletion(name, pool.closing)

    def now(self) -> int:
        """Return milliseconds by the clock of the management store."""
        return self._management.clock.now()

    def _changed(
        self, name: str, changes: Data, mark: str | None = None
    ) -> Pool | None:
        """Change a pool and return it, None if it is gone.

        :param mark: of a deletion; None is returned if it is not there
        """

        def edit(record: Record | None) -> Data | None:
            if record is None:
                return None
            if mark not in (None, pool_of(name, record.data).closing):
                return None
            return {**record.data, **changes}

        data = update(self._management, (KIND, '', name), edit)
        if data is None:
            return None
        self._notify(name)
        return pool_of(name, data)

    def _reserve_uri(self, name: str, uri: str) -> None:
        def uri_of(holder: str) -> str | None:
            pool = self.get(holder)
            return None if pool is None else pool.uri

        if not uri_reservations.reserve(self._management, uri, name, uri_of):
            raise Conflict('The database URI is in use by another pool.')
