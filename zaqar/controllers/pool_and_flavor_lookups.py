# SPDX-License-Identifier: Apache-2.0
"""What operations on pools and flavors look up: catalogue, pages, drivers."""

from collections.abc import Sequence

from zaqar.controllers.api_limits_and_defaults import page_size
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.name_validation import is_name
from zaqar.errors import ConfigurationError, InvalidRequest, NoRoute
from zaqar.objects import Record
from zaqar.pools.pooled_catalogue import PooledCatalogue
from zaqar.pools.registered_and_virtual_pools import Pools

#: Longest marker that is compared; no name is as long.
_MAX_MARKER = 100


def catalogue_of(ctx: Context) -> PooledCatalogue:
    """Return the catalogue, which must be one with pools.

    :raises NoRoute: it is not
    """
    if not isinstance(ctx.catalogue, PooledCatalogue):
        raise NoRoute
    return ctx.catalogue


def page(
    ctx: Context,
    kind: str,
    parent: str,
    marker: str | None,
    limit: int | None,
    maximum: int,
) -> Sequence[Record]:
    """Return a page of records.

    :raises InvalidRequest: ``limit`` is out of bounds
    """
    size = page_size(limit, maximum, 'no greater than')
    if marker is not None:
        # The rest does not matter to the order of names, and not every store
        # accepts it.
        marker = marker.partition('\0')[0][:_MAX_MARKER]
    return catalogue_of(ctx).management.list(
        kind, parent, after=marker, limit=size
    )


def capabilities(pools: Pools, uri: str) -> Sequence[str] | None:
    """Return the capabilities of the driver of a URI, None without one."""
    try:
        return [str(item) for item in pools.opener.driver(uri).capabilities]
    except ConfigurationError:
        return None


def named(ctx: Context, noun: str, name: str) -> PooledCatalogue:
    """Return the catalogue; raise InvalidRequest for an invalid name."""
    if not is_name(name):
        raise InvalidRequest(
            f'The format of the submitted {noun} name is not valid.'
        )
    return catalogue_of(ctx)
