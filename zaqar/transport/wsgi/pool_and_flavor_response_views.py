# SPDX-License-Identifier: Apache-2.0
"""HTTP responses of operations on pools and flavors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from zaqar.controllers.flavors import Flavor, FlavorPage
from zaqar.controllers.pools import PoolPage, ShownPool
from zaqar.pools.pool_records import Pool
from zaqar.transport import resource_representations
from zaqar.transport.wsgi.responses import (
    Response,
    json_response,
    link,
    next_page,
)

_POOLS = '/v2/pools'
_FLAVORS = '/v2/flavors'


def _pool(pool: Pool, detailed: bool) -> dict[str, Any]:
    href = f'{_POOLS}/{quote(pool.name)}'
    return {'href': href, **resource_representations.pool(pool, detailed)}


def _flavor(flavor: Flavor, detailed: bool) -> dict[str, Any]:
    href = f'{_FLAVORS}/{quote(flavor.name)}'
    return {'href': href, **resource_representations.flavor(flavor, detailed)}


def _pool_page(page: PoolPage, scope: None, path: str) -> Response:
    items = [_pool(pool, page.detailed) for pool in page.pools]
    return _page('pools', _POOLS, items, page.again)


def _flavor_page(page: FlavorPage, scope: None, path: str) -> Response:
    items = [_flavor(flavor, page.detailed) for flavor in page.flavors]
    return _page('flavors', _FLAVORS, items, page.again)


def _page(
    noun: str,
    folder: str,
    items: Sequence[Mapping[str, Any]],
    again: Mapping[str, Any],
) -> Response:
    links = []
    if items:
        links.append(next_page(folder, again, items[-1]['name']))
    return json_response(
        {noun: items, 'links': links},
        headers={'Content-Location': link(folder, again)},
    )


def _created(result: None, scope: None, path: str) -> Response:
    return Response(201, b'', {'Location': path})


def _one_pool(shown: ShownPool, scope: None, path: str) -> Response:
    return json_response(_pool(shown.pool, shown.detailed))


def _one_flavor(flavor: Flavor, scope: None, path: str) -> Response:
    return json_response(_flavor(flavor, detailed=True))


def _nothing(result: None, scope: None, path: str) -> Response:
    return Response(204)


VIEWS: Mapping[str, Callable[[Any, Any, str], Response]] = {
    'pool_list': _pool_page,
    'pool_create': _created,
    'pool_get': _one_pool,
    'pool_update': _one_pool,
    'pool_delete': _nothing,
    'flavor_list': _flavor_page,
    'flavor_create': _created,
    'flavor_get': _one_flavor,
    'flavor_update': _one_flavor,
    'flavor_delete': _nothing,
}
