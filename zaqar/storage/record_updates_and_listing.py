# SPDX-License-Identifier: Apache-2.0
"""Updates of records despite rivals, and listing of all their pages."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from zaqar.errors import StoreUnavailable
from zaqar.objects import Data, Record
from zaqar.storage.abstract_stores import ManagementStore

#: Records read at a time.
BATCH = 200

#: Tries of a change, each of which somebody else's change may defeat.
ATTEMPTS = 8

#: Kind, parent and name of a record.
Key = tuple[str, str, str]

T = TypeVar('T')


def repeat(attempt: Callable[[], T | None]) -> T:
    """Make an attempt until it returns something.

    :param attempt: returns None if somebody else's change came in between
    :raises StoreUnavailable: that happened too often
    """
    for _ in range(ATTEMPTS):
        result = attempt()
        if result is not None:
            return result
    raise StoreUnavailable


def update(
    store: ManagementStore,
    key: Key,
    edit: Callable[[Record | None], Data | None],
) -> Data | None:
    """Change a record, or create it if it is missing.

    :param edit: returns the new data, or None to leave the record as it is;
        called again if somebody else changed the record in between
    :returns: the new data, or None
    :raises StoreUnavailable: that happened too often
    """

    def attempt() -> tuple[Data | None] | None:
        record = store.get(*key)
        data = edit(record)
        if data is None:
            return (None,)
        if record is None:
            stored = store.create(*key, data)
        else:
            stored = store.replace(*key, data, version=record.version)
        return (data,) if stored else None

    return repeat(attempt)[0]


def list_all(
    store: ManagementStore, kind: str, parent: str
) -> Iterator[Record]:
    """Yield all records of a kind under a parent, by name."""
    after: str | None = None
    while True:
        page = store.list(kind, parent, after=after, limit=BATCH)
        yield from page
        if len(page) < BATCH:
            return
        after = page[-1].name
