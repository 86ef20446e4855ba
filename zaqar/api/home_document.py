# SPDX-License-Identifier: Apache-2.0
"""The JSON home document, derived from the operations.

:source: JSON Home, draft-nottingham-json-home-03
"""

import functools
import re
from collections.abc import Sequence
from typing import Any

from zaqar.api import microversion_negotiation, operation_table
from zaqar.api.operation import Operation

_VARIABLE = re.compile(r'{(\w+)}')

#: Path values with another name in this document.
_NAMES = {'subscription_id': 'subscriptions_id'}

#: Parameters that clients expect although no template has them.
_MORE = {'rel/subscriptions_post': {'limit': 'subscription_limit'}}

#: Relations that are declared without a template.
_PLAIN = ('rel/health',)


@functools.cache
def document(features: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the document, with what every version has."""
    relations: dict[str, list[Operation]] = {}
    for operation in operation_table.OPERATIONS:
        if operation.since > microversion_negotiation.MIN:
            continue
        if operation.rel and operation.needs <= features:
            relations.setdefault(operation.rel, []).append(operation)
    return {
        'resources': {
            rel: _resource(rel, operations)
            for rel, operations in relations.items()
        }
    }


def _resource(rel: str, operations: Sequence[Operation]) -> dict[str, Any]:
    first = operations[0]
    path = _VARIABLE.sub(_named, first.path)
    params = [
        param
        for param in first.query
        if param.home and param.since == microversion_negotiation.MIN
    ]
    names = ','.join(param.name for param in params)
    variables = {
        **{name: name for name in _VARIABLE.findall(path)},
        **{param.name: param.home for param in params},
        **_MORE.get(rel, {}),
    }
    href = 'href' if rel in _PLAIN else 'href-template'
    query = f'{{?{names}}}' if names else ''
    resource: dict[str, Any] = {href: path + query}
    if variables:
        resource['href-vars'] = {
            name: f'param/{home}' for name, home in variables.items()
        }
    resource['hints'] = _hints(operations)
    return resource


def _named(match: re.Match[str]) -> str:
    return f'{{{_NAMES.get(match[1], match[1])}}}'


def _hints(operations: Sequence[Operation]) -> dict[str, Any]:
    hints: dict[str, Any] = {
        'allow': [operation.method for operation in operations],
        'formats': {'application/json': {}},
    }
    first, *others = operations
    if first.body and first.method in ('POST', 'PATCH') and not others:
        hints['accept-post'] = ['application/json']
    return hints
