# SPDX-License-Identifier: Apache-2.0
"""The records of which the API is made: an operation is declared once.

A row holds data and one function. Route, WebSocket action, policy default,
validation, home document and OpenAPI entry are all read from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zaqar.api.features import Feature
from zaqar.controllers.limits import Limits

#: What an action without a route is about: messages of a queue.
_UNROUTED = '/v2/queues/{queue_name}/messages'

#: A rule that anyone may pass who has been let in.
ANYONE = ''
ADMIN = 'role:admin'


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule with its default.

    :ivar name: as in policy files, ``queues:create``
    :ivar default: an oslo.policy expression
    """

    name: str
    default: str
    description: str


#: Said aloud by rows that consult no policy.
PUBLIC = Rule('', ANYONE, 'No rule: open to every caller.')


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter, over WebSocket a member of the body.

    :ivar kind: how it is read; ``ids`` is a list of texts, over HTTP
        separated by commas, repeated, or both
    :ivar home: its name among the parameters of the home document, None to
        leave it out
    :ivar alone: where it is given, no other is looked at
    :ivar member: its name in the body of a frame, if that is another one
    """

    name: str
    kind: Literal['int', 'bool', 'text', 'ids']
    summary: str
    home: str | None = None
    alone: bool = False
    member: str = ''


@dataclass(frozen=True, slots=True)
class Body:
    """The document of a request.

    :ivar decode: JSON text to the document that the function takes; raises
        :class:`~zaqar.errors.InvalidRequest`
    :ivar schema: a JSON Schema of it, for the OpenAPI document
    :ivar required: whether an absent body is a fault; else the function gets
        None
    :ivar max_size: bytes it may have
    :ivar too_large: builds the answer to one with more, from that number
    :ivar media_type: what ``Content-Type`` must be, None for anything
    :ivar absent: what to say when there is none, and must be
    :ivar member: over WebSocket, the member of the frame's body that is the
        document; '' where the members of the document stand in the body
    """

    decode: Callable[[bytes], Any]
    schema: Mapping[str, Any]
    required: bool
    max_size: Callable[[Limits], int]
    too_large: Callable[[int], Exception]
    media_type: str | None = None
    absent: str = 'Request body can not be empty'
    member: str = ''


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    ``call`` takes the :class:`~zaqar.controllers.context.Context`, then by
    name: ``scope`` if the path names a queue or topic, the other path values,
    every query parameter (None where absent) and, if there is a body,
    ``document``.

    :ivar name: the WebSocket action
    :ivar http: method and path, None for an action without a route
    :ivar failure: what to say when a store does not answer
    :ivar rel: the relation in the home document
    :ivar answers: JSON Schema by status, None for an empty body
    :ivar conflict: what 409 means, '' where there is none
    :ivar keep_unknown: also hand over, as ``filters``, query parameters that
        are not declared
    :ivar needs: features that must be on, else there is no such operation
    """

    name: str
    http: str | None
    rule: Rule
    call: Callable[..., Any]
    summary: str
    failure: str
    answers: Mapping[int, Mapping[str, Any] | None]
    query: tuple[Param, ...] = ()
    body: Body | None = None
    rel: str | None = None
    conflict: str = ''
    keep_unknown: bool = False
    needs: frozenset[Feature] = frozenset()

    @property
    def method(self) -> str:
        """The HTTP method, '' without a route."""
        return self.http.split(' ')[0] if self.http else ''

    @property
    def path(self) -> str:
        """The path template, '' without a route."""
        return self.http.split(' ')[1] if self.http else ''

    @property
    def target(self) -> str:
        """The path template, or what an action without a route is about."""
        return self.path or _UNROUTED
