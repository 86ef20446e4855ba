# SPDX-License-Identifier: Apache-2.0
"""The declaration of an operation.

Route, WebSocket action, policy default, validation, home document and OpenAPI
entry are all derived from it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from zaqar.api import (
    body_members_by_version,
    body_size_errors,
    microversion_negotiation,
)
from zaqar.api.body_members_by_version import NewerMembers
from zaqar.api.optional_features import Feature
from zaqar.api.requests_with_wait import WAIT, Waiting
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.microversion_constants import V2_1, Version
from zaqar.objects import Scope

#: Path of an action without a route: the messages of a queue.
_UNROUTED = '/v2/queues/{queue_name}/messages'

#: The method of an action without a route.
READ = 'GET'

#: The media type of streams over HTTP.
EVENT_STREAM = 'text/event-stream'

#: A default that every authenticated caller passes.
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


@dataclass(frozen=True, slots=True)
class FurtherRules:
    """Rules that a request has to pass besides that of its operation.

    :ivar of: takes the document, which may be malformed, and the queue of the
        path; returns rules, each with the queue that it is about, None for any
    :ivar delegates: whether the rules are for those to whom the request gives
        access, by a signature: the caller has to pass those that they would
    """

    of: Callable[[Any, Scope], Iterable[tuple[Rule, Scope | None]]]
    delegates: bool = False


#: The rule of operations that consult no policy.
PUBLIC = Rule('', ANYONE, 'No rule: open to every caller.')


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter, over WebSocket a member of the body.

    :ivar kind: its type; ``ids`` is a list of strings, over HTTP separated by
        commas, repeated, or both
    :ivar home: its name in the home document, None to leave it out
    :ivar alone: if present, all others are ignored
    :ivar member: its name in the body of a frame, if different
    :ivar since: the version that adds it; below, it is an unknown one
    """

    name: str
    kind: Literal['int', 'bool', 'text', 'ids']
    summary: str
    home: str | None = None
    alone: bool = False
    member: str = ''
    since: Version = microversion_negotiation.MIN


#: Of all operations that wait.
WAIT_PARAM = Param(
    WAIT,
    'int',
    'Seconds to wait until there are messages.',
    since=V2_1,
)


#: Of operations that otherwise take a missing queue for an empty one.
EXISTING_PARAM = Param(
    'existing',
    'bool',
    'Refuse the request (404) if the queue does not exist.',
    since=V2_1,
)


def metadata_size(limits: Limits) -> int:
    """Return the maximum size of metadata and of other small documents."""
    return limits.max_queue_metadata


@dataclass(frozen=True, slots=True)
class Body:
    """A request body.

    :ivar decode: converts JSON text to the document that the function takes;
        raises :class:`~zaqar.errors.InvalidRequest`
    :ivar schema: JSON Schema for the OpenAPI document
    :ivar required: whether an absent body is an error; else the function gets
        None
    :ivar max_size: its maximum in bytes
    :ivar too_large: returns the error for a longer one, given the maximum
    :ivar media_type: the required ``Content-Type``, None for any
    :ivar absent: error text for an absent body
    :ivar member: over WebSocket, the member of the frame's body that is the
        document; '' where the frame's body is the document
    :ivar newer: members of a struct that later versions add, by its schema
    """

    decode: Callable[[bytes], Any]
    schema: Mapping[str, Any]
    required: bool
    max_size: Callable[[Limits], int] = metadata_size
    too_large: Callable[[int], Exception] = body_size_errors.body_too_large
    media_type: str | None = None
    absent: str = 'Request body can not be empty'
    member: str = ''
    newer: NewerMembers | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.member:
            newer = body_members_by_version.of(self.schema)
            object.__setattr__(self, 'newer', newer)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the API.

    ``handler`` is a function of a controller. It takes the
    :class:`~zaqar.controllers.caller_and_services.Context`, then by name:
    ``scope`` if the path names a queue or topic, the other path values, every
    query parameter (None where absent) and, if there is a body, ``document``.

    :ivar name: the WebSocket action
    :ivar http: method and path, None for an action without a route
    :ivar rules: a rule of their own for parameters of the query, by name
    :ivar further: rules about what the document names
    :ivar error_message: error text when a store does not respond
    :ivar rel: the relation in the home document
    :ivar responses: JSON Schema by status, None for an empty body
    :ivar conflict: what 409 means, '' where there is none
    :ivar keep_unknown: pass undeclared query parameters as ``filters``
    :ivar needs: features without which the operation does not exist
    :ivar since: the version that adds it; below, it does not exist
    :ivar waiting: how it waits, None if it does not; see :data:`WAIT`
    :ivar stream: takes its place for HTTP clients that prefer a stream
    :ivar query_headers: headers by the parameters of the query that stand for
        them
    :ivar is_idempotent: whether a header may mark it as repeatable, see
        :mod:`zaqar.controllers.idempotency_key`
    :ivar member: over WebSocket, the member of the body from which the session
        knows the values of the path; '' where they are members themselves
    :ivar no_query: the arguments of a request without a query
    """

    name: str
    http: str | None
    rule: Rule
    handler: Callable[..., Any]
    summary: str
    error_message: str
    responses: Mapping[int, Mapping[str, Any] | None] = field(
        default_factory=lambda: {204: None}
    )
    query: tuple[Param, ...] = ()
    body: Body | None = None
    rel: str | None = None
    conflict: str = ''
    rules: Mapping[str, Rule] = field(default_factory=dict)
    further: FurtherRules | None = None
    keep_unknown: bool = False
    needs: frozenset[Feature] = frozenset()
    since: Version = microversion_negotiation.MIN
    waiting: Waiting | None = None
    stream: 'Operation | None' = None
    query_headers: Mapping[str, str] = field(default_factory=dict)
    is_idempotent: bool = False
    member: str = ''
    no_query: Mapping[str, None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        absent = dict.fromkeys(param.name for param in self.query)
        object.__setattr__(self, 'no_query', absent)

    @property
    def method(self) -> str:
        """The HTTP method, '' without a route."""
        return self.http.split(' ')[0] if self.http else ''

    @property
    def path(self) -> str:
        """The path template, '' without a route."""
        return self.http.split(' ')[1] if self.http else ''

    def default_wait(self, version: Version) -> Callable[..., int] | None:
        """Return what tells how long it waits without the parameter."""
        if version == microversion_negotiation.MIN or self.waiting is None:
            return None
        return self.waiting.default

    @property
    def target(self) -> str:
        """The path template, also of an action without a route."""
        return self.path or _UNROUTED
