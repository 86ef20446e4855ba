# SPDX-License-Identifier: Apache-2.0
"""Conversion of WebSocket frames to the arguments of operations.

A frame holds an action, headers and a body. The members of its body are, by
their names, the values of the path, the query and the document of the
equivalent HTTP request.

:source: reference/websocket, "Frames", "Actions"
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from zaqar.api import microversion_negotiation, operation_table
from zaqar.api.dispatch import Received
from zaqar.api.operation import READ, Operation, Param
from zaqar.api.requests_with_wait import WAIT
from zaqar.errors import InvalidRequest, NoRoute
from zaqar.microversion_constants import Version

#: Prefix of errors of a body, by which clients recognize them.
BAD_REQUEST = 'Bad request. '

#: The action that begins a session; no operation, since it has no controller.
AUTHENTICATE = 'authenticate'

#: Actions by another name than that of their operation.
_ALIASES = {'check_node_health': 'health'}

#: Headers that must be strings.
_TEXTS = frozenset(
    (
        *('client-id', 'x-project-id', 'x-auth-token'),
        *('user-agent', 'date', 'accept', 'openstack-api-version'),
    )
)

#: Types of parameters by their kind, with their names for clients.
_SCALARS: Mapping[str, tuple[type, str]] = {
    'int': (int, 'an integer'),
    'bool': (bool, 'a boolean'),
    'text': (str, 'a string'),
}

_VARIABLE = re.compile(r'{(\w+)}')

#: The members of a body, each still encoded.
Members = Mapping[str, msgspec.Raw]


class Codec(Protocol):
    """The encoding of a frame."""

    def value(self, raw: msgspec.Raw) -> Any:
        """Decode a member.

        :raises InvalidRequest: it is not well-formed
        """

    def document(self, members: Members) -> Received:
        """Return members as one JSON object.

        :raises InvalidRequest: one is not well-formed, or nothing that JSON
            could say
        """

    def one(self, raw: msgspec.Raw) -> Received:
        """Return a member as JSON text; raises as :meth:`document`."""


@dataclass(frozen=True, slots=True)
class BodyMembers:
    """The members that the body of an action may have.

    :ivar path: values of the path, all required
    :ivar params: parameters of the query by their members
    :ivar document: members that form the document
    """

    path: tuple[str, ...]
    params: tuple[tuple[str, Param], ...]
    document: tuple[str, ...]


def operation(action: Any, version: Version) -> Operation:
    """Return the operation of an action in a version.

    :raises InvalidRequest: there is none
    """
    if action is None:
        raise InvalidRequest('The frame has no action.')
    row = None
    if isinstance(action, str):
        row = operation_table.BY_ACTION.get(_ALIASES.get(action, action))
    if row is None or row.since > version:
        raise InvalidRequest(f'{str(action)[:64]} is not a valid action.')
    return row


def headers(members: Any) -> Mapping[str, Any]:
    """Return the headers of a frame by their names in lower case.

    :raises InvalidRequest: they are no object, or one is no string
    """
    if not isinstance(members, dict):
        raise InvalidRequest('The headers of a frame must be an object.')
    by_name = {str(name).lower(): value for name, value in members.items()}
    for name in _TEXTS & by_name.keys():
        if not isinstance(by_name[name], str):
            raise InvalidRequest(f'The header {name} must be a string.')
    return by_name


def path(row: Operation, body: Members, codec: Codec) -> dict[str, str]:
    """Return the values of the path.

    :raises InvalidRequest: one is missing or no text
    """
    values = {}
    for name in _body_members(row.name).path:
        if name not in body:
            raise InvalidRequest(f'{BAD_REQUEST}The body lacks {name!r}.')
        value = codec.value(body[name])
        if not isinstance(value, str):
            raise _misfit(name, 'a string')
        values[name] = value
    return values


def query(
    row: Operation, body: Members, codec: Codec, version: Version
) -> dict[str, list[str]]:
    """Return the parameters as the values of a query string.

    :raises InvalidRequest: one is of the wrong type
    """
    values = {
        param.name: _texts(param.kind, name, codec.value(body[name]))
        for name, param in _body_members(row.name).params
        if name in body and param.since <= version
    }
    if version > microversion_negotiation.MIN and WAIT in body:
        # For it to be refused where there is no such parameter.
        values.setdefault(WAIT, [])
    return values


def document(row: Operation, body: Members, codec: Codec) -> Received | None:
    """Return the document as JSON text, None if there is none.

    :raises InvalidRequest: it cannot be converted
    """
    if row.body is None:
        return None
    names = _body_members(row.name).document
    if row.body.member:
        return codec.one(body[names[0]]) if names[0] in body else None
    members = {name: body[name] for name in names if name in body}
    if not members and not row.body.required:
        return None
    return codec.document(members)


def target(row: Operation, values: Mapping[str, str]) -> tuple[str, str]:
    """Return method and path of the equivalent HTTP request."""
    quoted = {name: quote(value, '') for name, value in values.items()}
    return row.method or READ, row.target.format_map(quoted)


def collection(row: Operation, values: Mapping[str, str]) -> str:
    """Return the path of the collection of a queue that a frame addresses.

    :raises NoRoute: it addresses none
    """
    steps = row.target.split('/')[1:5]
    if len(steps) < 4 or steps[1] != 'queues':
        raise NoRoute
    return f'/v2/queues/{values["queue_name"]}/{steps[3]}'


@functools.cache
def _body_members(action: str) -> BodyMembers:
    row = operation_table.BY_ACTION[action]
    names: tuple[str, ...] = ()
    if row.body is not None:
        member = row.body.member
        names = (member,) if member else tuple(row.body.schema['properties'])
    return BodyMembers(
        (row.member,) if row.member else tuple(_VARIABLE.findall(row.target)),
        tuple((param.member or param.name, param) for param in row.query),
        names,
    )


def _texts(kind: str, name: str, value: Any) -> list[str]:
    """Return the values of a parameter as in a query string."""
    if kind != 'ids':
        wanted, text = _SCALARS[kind]
        if type(value) is not wanted:
            raise _misfit(name, text)
        return [str(value).lower() if wanted is bool else str(value)]
    if not isinstance(value, list):
        raise _misfit(name, 'an array')
    if not all(isinstance(item, str) for item in value):
        raise _misfit(name, 'an array of strings')
    return value


def _misfit(name: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f'{BAD_REQUEST}{name!r} must be {wanted}.')
