# SPDX-License-Identifier: Apache-2.0
"""URLs of pages, and the link to the next one."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

#: Text that a query holds as it is.
_UNRESERVED = re.compile(r'[A-Za-z0-9_.~-]*')


def link(folder: str, query: Mapping[str, Any]) -> str:
    """Return a path with a query, without the values that are None."""
    text = '&'.join(
        f'{_quoted(key)}={_quoted(value)}'
        for key, value in query.items()
        if value is not None
    )
    return f'{folder}?{text}' if text else folder


def _quoted(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # Faster than quote() by far for what most queries are.
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe='')


def next_page(
    folder: str, again: Mapping[str, Any], marker: str
) -> dict[str, str]:
    """Return the link to the page after a marker."""
    return {'rel': 'next', 'href': link(folder, {**again, 'marker': marker})}
