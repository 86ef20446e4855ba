# SPDX-License-Identifier: Apache-2.0
"""Members of request bodies, by the version of the API that added them.

Below their version they are ignored, whatever they hold. Structs therefore
decode them as ``msgspec.Raw``: another type is no fault yet.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from zaqar.api import microversion_negotiation
from zaqar.api.json_schema_parts import SINCE, Schema
from zaqar.microversion_constants import Version


class Absent(NamedTuple):
    """Members that a version does not have.

    :ivar values: returns all of an object
    :ivar unset: what it returns where none is set
    """

    names: Sequence[str]
    values: Callable[[msgspec.Struct], Any]
    unset: Any

    @classmethod
    def of(cls, names: Sequence[str]) -> Absent | None:
        """Return them, None if there are none."""
        if not names:
            return None
        values = operator.attrgetter(*names)
        is_one = len(names) == 1
        unset = msgspec.UNSET if is_one else (msgspec.UNSET,) * len(names)
        return cls(names, values, unset)


@dataclass(frozen=True, slots=True)
class NewerMembers:
    """The newer members of an object.

    :ivar absent: those that a version does not have, by version
    :ivar items: those of the items of its arrays, by the name of the array
    """

    absent: Mapping[Version, Absent | None]
    items: Mapping[str, NewerMembers]
    _pairs: Sequence[tuple[str, NewerMembers]] = field(init=False)

    def __post_init__(self) -> None:
        # For every request: without a call.
        object.__setattr__(self, '_pairs', tuple(self.items.items()))

    def unset(
        self, documents: Collection[msgspec.Struct], version: Version
    ) -> None:
        """Unset those that a version does not have in some objects."""
        if absent := self.absent[version]:
            for document in documents:
                # One call for all of them, which hardly any request has.
                if absent.values(document) != absent.unset:
                    for name in absent.names:
                        setattr(document, name, msgspec.UNSET)
        for name, newer in self._pairs:
            for document in documents:
                array: Any = getattr(document, name)
                newer.unset(array or (), version)


def of(schema: Schema) -> NewerMembers | None:
    """Return the newer members of a schema, None if there are none."""
    properties = schema.get('properties', {})
    since = {
        name: Version(*map(int, inner[SINCE].split('.')))
        for name, inner in properties.items()
        if SINCE in inner
    }
    items = {
        name: newer
        for name, inner in properties.items()
        if (newer := of(inner.get('items', {}))) is not None
    }
    if not (since or items):
        return None
    absent = {
        version: Absent.of(
            tuple(name for name in since if since[name] > version)
        )
        for version in microversion_negotiation.ALL
    }
    return NewerMembers(absent, items)
