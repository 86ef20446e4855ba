# SPDX-License-Identifier: Apache-2.0
"""The dialect of JSON patch that changes a queue's metadata.

Only ``add``, ``replace`` and ``remove`` of ``/metadata/<key>``, and from 2.1
on ``test``, for which a key that is not stored is null. Unlike RFC
6902, a reserved key counts as present although nothing is stored: clients
replace and remove what they are shown, defaults included.

python-zaqarclient 4.7.0, and the command line that uses it, set a key that is
shown as null by ``add`` and then, in the same patch, ``remove`` it with all
keys that they do not mention. Hence such a removal applies to the state before
the patch.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.errors import Conflict, InvalidBody
from zaqar.microversion_constants import V2_0, V2_1, Version

OPS = ('add', 'remove', 'replace')

#: From 2.1 on: as in RFC 6902, for changes that depend on what was read.
TEST = 'test'


@dataclass(frozen=True, slots=True)
class Change:
    """One operation of a patch."""

    op: str
    key: str
    value: Any = None


def operations(version: Version) -> Sequence[str]:
    """Return the operations that a version knows."""
    return OPS if version < V2_1 else (*OPS, TEST)


def parse(document: Any, version: Version = V2_0) -> list[Change]:
    """Return the changes of a patch.

    :param document: a JSON value
    :raises InvalidBody: it is no patch
    """
    if not isinstance(document, list):
        raise InvalidBody(
            'Request body must be a JSON array of operation objects.'
        )
    known = operations(version)
    return [_change(item, known) for item in document]


def apply(
    changes: Sequence[Change],
    stored: Mapping[str, Any],
    reserved: Collection[str],
    unset: Collection[str] = (),
) -> dict[str, Any]:
    """Return the metadata after the changes.

    :param unset: reserved keys that were shown as null
    :raises Conflict: a key is replaced or removed that is not there, or does
        not have the value that it is tested for
    """
    metadata = dict(stored)
    added: set[str] = set()
    for change in changes:
        if change.op == TEST:
            if metadata.get(change.key) != change.value:
                raise Conflict(f'{change.key} has another value.')
        elif change.op == 'add':
            metadata[change.key] = change.value
            added.add(change.key)
        elif change.op == 'remove' and change.key in added.intersection(unset):
            continue
        elif change.key not in metadata and change.key not in reserved:
            raise Conflict(
                f"Can't {change.op} non-existent object {change.key}."
            )
        elif change.op == 'replace':
            metadata[change.key] = change.value
        else:
            metadata.pop(change.key, None)
    return metadata


def _change(item: Any, known: Sequence[str]) -> Change:
    if not isinstance(item, dict):
        raise InvalidBody('Operations must be JSON objects.')
    op = _op(item, known)
    key = _key(item)
    if op != 'remove' and 'value' not in item:
        raise InvalidBody(f'Operation "{op}" requires a member named "value".')
    return Change(op, key, item.get('value'))


def _op(item: Mapping[str, Any], known: Sequence[str]) -> str:
    if 'op' not in item:
        raise InvalidBody('Unable to find `op` in JSON Schema change.')
    op = item['op']
    if not isinstance(op, str) or op not in known:
        raise InvalidBody(
            f'Invalid operation: `{op}`. It must be one of the following: '
            f'{", ".join(known)}.'
        )
    return op


def _key(item: Mapping[str, Any]) -> str:
    if 'path' not in item:
        raise InvalidBody("Unable to find 'path' in JSON Schema change")
    pointer = item['path']
    if not isinstance(pointer, str):
        raise InvalidBody('A JSON pointer must be a text.')
    _check_pointer(pointer)
    tokens = [_unescaped(token) for token in pointer.lstrip('/').split('/')]
    if len(tokens) != 2:
        raise InvalidBody(
            f"Invalid JSON pointer for this resource: '{pointer}, e.g "
            "/metadata/key'"
        )
    if tokens[0].lower() != 'metadata':
        raise InvalidBody(
            'The root of path must be metadata, e.g /metadata/key.'
        )
    return tokens[1]


def _check_pointer(pointer: str) -> None:
    fault = None
    if not pointer.startswith('/'):
        fault = 'must start with "/".'
    elif '//' in pointer.lstrip('/'):
        fault = 'must not hold adjacent "/".'
    elif len(pointer) > 1 and pointer.endswith('/'):
        fault = 'must not end with "/".'
    elif re.search('~(?![01])', pointer):
        fault = 'holds "~" not followed by "0" or "1".'
    if fault is not None:
        raise InvalidBody(f'Pointer `{pointer}` {fault}')


def _unescaped(token: str) -> str:
    return token.strip().replace('~1', '/').replace('~0', '~')
