# SPDX-License-Identifier: Apache-2.0
"""Records of flavors, with which projects name kinds of pools.

The record of a flavor is of kind ``flavor`` under its project; each pool's
record names its flavor. Other projects may use a flavor too, and find it
through a record of kind ``flavor_owner`` under its name.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from zaqar.objects import Record
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.record_updates_and_listing import list_all, update

KIND = 'flavor'
OWNER = 'flavor_owner'


def find(
    management: ManagementStore, project: str, name: str
) -> tuple[str, Record] | None:
    """Return a flavor of a project, or else of another, with its owner."""
    own = management.get(KIND, project, name)
    if own is not None:
        return project, own
    return next(_of_any(management, name), None)


def put(
    management: ManagementStore,
    project: str,
    name: str,
    data: Mapping[str, Any],
) -> None:
    """Record a flavor of a project, new or not."""
    # First, so that other projects can find every flavor.
    management.create(OWNER, name, _key(project), {'project': project})
    update(management, (KIND, project, name), lambda _record: data)


def delete(management: ManagementStore, project: str, name: str) -> bool:
    """Remove a flavor of a project.

    :returns: whether no project has a flavor of this name any more
    """
    management.delete(KIND, project, name)
    management.delete(OWNER, name, _key(project))
    return find(management, project, name) is None


def _of_any(
    management: ManagementStore, name: str
) -> Iterator[tuple[str, Record]]:
    for owner in list_all(management, OWNER, name):
        project = owner.data['project']
        flavor = management.get(KIND, project, name)
        if flavor is not None:
            yield project, flavor


def _key(project: str) -> str:
    """Return a name of a record for a project, whose id may be too long."""
    return hashlib.sha256(project.encode()).hexdigest()
