# SPDX-License-Identifier: Apache-2.0
"""HTTP responses of operations on pools and flavors."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from zaqar.controllers.result_types import Detailed, DetailedPage
from zaqar.transport import resource_representations
from zaqar.transport.wsgi.responses import (
    Response,
    json_response,
    link,
    next_page,
)

Views = Mapping[str, Callable[[Any, Any, str], Response]]


def _views(noun: str, represent: Callable[[Any, bool], Any]) -> Views:
    folder = f'/v2/{noun}s'

    def document(item: Any, detailed: bool) -> dict[str, Any]:
        href = f'{folder}/{quote(item.name)}'
        return {'href': href, **represent(item, detailed)}

    def page(result: DetailedPage[Any], scope: None, path: str) -> Response:
        items = [document(item, result.detailed) for item in result.items]
        links = []
        if items:
            links.append(next_page(folder, result.again, items[-1]['name']))
        return json_response(
            {f'{noun}s': items, 'links': links},
            headers={'Content-Location': link(folder, result.again)},
        )

    def one(result: Detailed[Any], scope: None, path: str) -> Response:
        return json_response(document(result.item, result.detailed))

    return {
        f'{noun}_list': page,
        f'{noun}_create': lambda _, scope, path: Response(
            201, b'', {'Location': path}
        ),
        f'{noun}_get': one,
        f'{noun}_update': one,
        f'{noun}_delete': lambda *_: Response(204),
    }


VIEWS: Views = {
    **_views('pool', resource_representations.pool),
    **_views('flavor', resource_representations.flavor),
}
