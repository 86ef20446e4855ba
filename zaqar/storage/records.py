# SPDX-License-Identifier: Apache-2.0
"""Work on records that takes more than one call of their store."""

from __future__ import annotations

from collections.abc import Iterator

from zaqar.models import Record
from zaqar.storage.base import ManagementStore

#: Records read at a time.
BATCH = 200


def list_all(
    management: ManagementStore, kind: str, parent: str
) -> Iterator[Record]:
    """Yield all records of a kind under a parent, by name."""
    after: str | None = None
    while True:
        records = management.list(kind, parent, after=after, limit=BATCH)
        yield from records
        if len(records) < BATCH:
            return
        after = records[-1].name
