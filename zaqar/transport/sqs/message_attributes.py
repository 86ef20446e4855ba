# SPDX-License-Identifier: Apache-2.0
"""Attributes of messages, as ours, and their checksum."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from zaqar.controllers.message_group_and_attribute_checks import NOT_COUNTED
from zaqar.transport.sqs import faults
from zaqar.transport.sqs.action_input_types import Value

#: Ours are of the same names, types and values.
Attributes = dict[str, dict[str, str]]

#: Beginnings of names that AWS keeps for itself; two are ours for what clients
#: send beside the attributes: a trace, and the group of a message of a queue
#: without order.
RESERVED = ('aws.', 'amazon.')

_BINARY = 'Binary'


def to_ours(values: Mapping[str, Value]) -> Attributes:
    """Return attributes as we store them.

    :raises Fault: one is not of its type, or of a name that is not free
    """
    attributes: Attributes = {}
    for name, value in values.items():
        if name.lower().startswith(RESERVED):
            raise faults.invalid(
                'MessageAttributes', f'the name {name} is reserved.'
            )
        attributes[name] = _to_ours(name, value)
    return attributes


def _to_ours(name: str, value: Value) -> dict[str, str]:
    kind = value.data_type
    if value.string_list_values or value.binary_list_values:
        raise faults.Fault(
            'UnsupportedOperation',
            'Attributes of messages cannot be lists of values.',
        )
    is_binary = kind is not None and kind.partition('.')[0] == _BINARY
    text = value.binary_value if is_binary else value.string_value
    other = value.string_value if is_binary else value.binary_value
    if not kind or not text or other:
        raise faults.invalid(
            'MessageAttributes',
            f'the attribute {name} has a DataType and one value, which fits '
            'the type.',
        )
    return {'type': kind, 'value': text}


def from_ours(attributes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return attributes as clients see them."""
    return {
        name: {
            'BinaryValue' if _is_binary(item) else 'StringValue': item[
                'value'
            ],
            'DataType': item['type'],
        }
        for name, item in attributes.items()
    }


def chosen(
    attributes: Mapping[str, Mapping[str, str]], wanted: Iterable[str]
) -> Attributes:
    """Return attributes that a client has named.

    :param wanted: names, ``All``, or beginnings of names with ``.*`` behind
    """
    wanted = [*wanted]
    if not wanted:
        return {}
    names = {*wanted}
    takes_all = bool(names & {'All', '.*'})
    beginnings = tuple(name[:-1] for name in names if name.endswith('.*'))
    return {
        name: dict(item)
        for name, item in attributes.items()
        if name not in NOT_COUNTED
        and (takes_all or name in names or name.startswith(beginnings))
    }


def size(attributes: Mapping[str, Mapping[str, str]]) -> int:
    """Return the bytes that attributes count for."""
    return sum(
        len(name.encode()) + len(item['type'].encode()) + len(_bytes(item))
        for name, item in attributes.items()
    )


def checksum(attributes: Mapping[str, Mapping[str, str]]) -> str:
    """Return the MD5 of attributes, as AWS computes it.

    That is over each name, type and value with their lengths, by name.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        item = attributes[name]
        for part in (name.encode(), item['type'].encode()):
            digest.update(len(part).to_bytes(4, 'big') + part)
        value = _bytes(item)
        digest.update(b'\x02' if _is_binary(item) else b'\x01')
        digest.update(len(value).to_bytes(4, 'big') + value)
    return digest.hexdigest()


def _is_binary(item: Mapping[str, str]) -> bool:
    return item['type'].partition('.')[0] == _BINARY


def _bytes(item: Mapping[str, str]) -> bytes:
    if not _is_binary(item):
        return item['value'].encode(errors='replace')
    try:
        return base64.b64decode(item['value'])
    except ValueError:
        # The operation refuses it.
        return b''
