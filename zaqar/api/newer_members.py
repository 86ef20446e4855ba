# SPDX-License-Identifier: Apache-2.0
"""Members of request bodies that a version of the API has added.

Below their version they are ignored, whatever they hold. Structs therefore
decode them as ``msgspec.Raw``: another type is no fault yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from zaqar.api.response_schemas import SINCE, Schema
from zaqar.api_versions import Version


@dataclass(frozen=True, slots=True)
class NewerMembers:
    """The newer members of an object.

    :ivar since: their versions, by name
    :ivar items: those of the items of its arrays, by the name of the array
    """

    since: Mapping[str, Version]
    items: Mapping[str, NewerMembers]

    def unset(self, document: msgspec.Struct, version: Version) -> None:
        """Unset those that a version does not have."""
        for name, since in self.since.items():
            if since > version:
                setattr(document, name, msgspec.UNSET)
        for name, newer in self.items.items():
            array: Any = getattr(document, name)
            for item in array or ():
                newer.unset(item, version)


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
    return NewerMembers(since, items) if since or items else None
