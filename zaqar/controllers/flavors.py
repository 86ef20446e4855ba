# SPDX-License-Identifier: Apache-2.0
"""Manage flavors, which are names for pools of one kind.

Each pool records its flavor, and has one at most.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.name_validation import is_name
from zaqar.controllers.pool_and_flavor_lookups import (
    capabilities,
    catalogue_of,
    named,
    page,
)
from zaqar.controllers.result_types import Detailed, DetailedPage
from zaqar.errors import InvalidBody, InvalidRequest, NotFound
from zaqar.objects import Record
from zaqar.pools import flavor_records
from zaqar.pools.pooled_catalogue import PooledCatalogue
from zaqar.pools.registered_and_virtual_pools import Pools


@dataclass(frozen=True, slots=True)
class Flavor:
    """A flavor with the names of its pools."""

    name: str
    capabilities: Sequence[Any]
    pools: Sequence[str]


def list_(
    ctx: Context,
    *,
    detailed: bool | None,
    limit: int | None,
    marker: str | None,
) -> DetailedPage[Flavor]:
    """List the project's flavors by name, byte-wise ascending."""
    most = ctx.limits.max_flavors_per_page
    project = ctx.identity.project
    records = page(ctx, flavor_records.KIND, project, marker, limit, most)
    by_flavor: dict[str | None, list[str]] = {}
    for pool in catalogue_of(ctx).pools.records.all():
        by_flavor.setdefault(pool.flavor, []).append(pool.name)
    page_flavors = [
        _flavor(record, by_flavor.get(record.name)) for record in records
    ]
    again = {'limit': limit, 'detailed': detailed, 'marker': marker}
    return DetailedPage(page_flavors, bool(detailed), again)


def create(ctx: Context, *, flavor_name: str, document: Any) -> None:
    """Create a flavor, or replace its pools."""
    catalogue = named(ctx, 'flavor', flavor_name)
    unknown = sorted(set(document) - {'pool_list', 'capabilities'})
    if unknown:
        raise InvalidBody(f'Unexpected field: "{unknown[0]}".')
    if not isinstance(document.get('capabilities', {}), dict):
        raise InvalidBody('"capabilities" must be an object.')
    wanted = _pool_list(document)
    if not wanted:
        raise InvalidRequest('Bad Request', title='Unable to create')
    fault = f'Flavor {flavor_name} could not be created'
    _check_known(catalogue.pools, wanted, fault, 'Unable to create')
    _put(catalogue, ctx.identity.project, flavor_name, wanted)


def show(ctx: Context, *, flavor_name: str) -> Detailed[Flavor]:
    """Return a flavor of the project, else of any other."""
    catalogue = named(ctx, 'flavor', flavor_name)
    _owner, record = _find(ctx, catalogue, flavor_name)
    pools = _tagged(catalogue.pools, flavor_name)
    return Detailed(_flavor(record, pools), detailed=True)


def update(
    ctx: Context, *, flavor_name: str, document: Any
) -> Detailed[Flavor]:
    """Replace the pools of a flavor; other fields are ignored."""
    catalogue = named(ctx, 'flavor', flavor_name)
    if 'pool_list' not in document:
        raise InvalidBody('`pool_list` needs to be specified')
    wanted = _pool_list(document)
    if not wanted:
        raise InvalidBody('"pool_list" must name a pool.')
    owner, _record = _find(ctx, catalogue, flavor_name)
    fault = f'Flavor {flavor_name} cant be updated'
    _check_known(catalogue.pools, wanted, fault, 'updatefail')
    data = _put(catalogue, owner, flavor_name, wanted)
    flavor = Flavor(flavor_name, data['capabilities'], wanted)
    return Detailed(flavor, detailed=True)


def delete(ctx: Context, *, flavor_name: str) -> None:
    """Remove the project's flavor; its pools have none any more."""
    catalogue = named(ctx, 'flavor', flavor_name)
    project = ctx.identity.project
    if (
        catalogue.management.get(flavor_records.KIND, project, flavor_name)
        is None
    ):
        return
    if flavor_records.delete(catalogue.management, project, flavor_name):
        _untag(catalogue.pools, flavor_name, keep=())


def is_known(ctx: Context, project: str, name: Any) -> bool:
    """Tell whether the metadata of a queue may name a flavor.

    Without pools any value is accepted.
    """
    if not name or not isinstance(ctx.catalogue, PooledCatalogue):
        return True
    if not isinstance(name, str) or not is_name(name):
        return False
    return ctx.catalogue.flavor_exists(project, name)


def _find(
    ctx: Context, catalogue: PooledCatalogue, name: str
) -> tuple[str, Record]:
    owned = flavor_records.find(
        catalogue.management, ctx.identity.project, name
    )
    if owned is None:
        raise NotFound(f'Flavor {name} does not exist')
    return owned


def _pool_list(document: Mapping[str, Any]) -> list[str]:
    names = document.get('pool_list')
    if not isinstance(names, list) or not all(
        isinstance(name, str) for name in names
    ):
        raise InvalidBody('"pool_list" must be an array of names of pools.')
    return names


def _check_known(
    pools: Pools, names: Sequence[str], fault: str, title: str
) -> None:
    existing = {pool.name for pool in pools.records.all()}
    for name in names:
        if name not in existing:
            raise InvalidRequest(
                f'{fault}, error:Pool {name} does not exist', title=title
            )


def _put(
    catalogue: PooledCatalogue, project: str, name: str, wanted: Sequence[str]
) -> Mapping[str, Any]:
    """Record a flavor and tag its pools with it, and no others."""
    pools = catalogue.pools
    first = pools.records.get(wanted[0])
    offered = capabilities(pools, first.uri) if first else None
    data = {'capabilities': offered or []}
    flavor_records.put(catalogue.management, project, name, data)
    for pool in wanted:
        pools.records.change(pool, {'flavor': name})
    _untag(pools, name, keep=wanted)
    return data


def _untag(pools: Pools, name: str, *, keep: Collection[str]) -> None:
    for pool in _tagged(pools, name):
        if pool not in keep:
            pools.records.change(pool, {'flavor': None})


def _tagged(pools: Pools, name: str) -> list[str]:
    return [pool.name for pool in pools.records.all() if pool.flavor == name]


def _flavor(record: Record, pools: Sequence[str] | None) -> Flavor:
    offered = record.data.get('capabilities') or []
    return Flavor(record.name, offered, pools or [])
