# SPDX-License-Identifier: Apache-2.0
"""Records in dictionaries: ``abstract_stores.ManagementStore``."""

from __future__ import annotations

from collections import defaultdict
from itertools import count

#: Name, data as JSON text, version.
Row = tuple[str, str, int]


class Records:
    """Records by kind and parent, then by name."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
        # A record is created with version 1. A change gets a version that no
        # other record of that name ever had.
        self._versions = count(2)

    def create(self, kind: str, parent: str, name: str, data: str) -> bool:
        rows = self._rows[kind, parent]
        if name in rows:
            return False
        rows[name] = (name, data, 1)
        return True

    def get(self, kind: str, parent: str, name: str) -> Row | None:
        return self._rows[kind, parent].get(name)

    def replace(
        self, kind: str, parent: str, name: str, data: str, version: int
    ) -> bool:
        rows = self._rows[kind, parent]
        if name not in rows or rows[name][2] != version:
            return False
        rows[name] = (name, data, next(self._versions))
        return True

    def delete(
        self, kind: str, parent: str, name: str, version: int | None
    ) -> Row | None:
        rows = self._rows[kind, parent]
        if name in rows and version not in (None, rows[name][2]):
            return None
        return rows.pop(name, None)

    def list(
        self, kind: str, parent: str, after: str | None, limit: int
    ) -> list[Row]:
        rows = self._rows[kind, parent]
        names = sorted(rows, key=str.encode)
        if after is not None:
            names = [name for name in names if name.encode() > after.encode()]
        return [rows[name] for name in names[:limit]]

    def count(self, kind: str, parent: str) -> int:
        return len(self._rows[kind, parent])
