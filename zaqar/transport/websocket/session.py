# SPDX-License-Identifier: Apache-2.0
"""The session of a connection: its credentials, headers and subscriptions.

:source: reference/websocket, "Authentication"
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from oslo_context import context

from zaqar.api import client_project_queue_checks, websocket_frame_arguments
from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation import Operation
from zaqar.errors import InvalidRequest
from zaqar.models import Identity
from zaqar.transport.token_validation import Credentials
from zaqar.transport.websocket import answer_envelope, response_views
from zaqar.transport.websocket.connection_state_machine import (
    OwnedSubscription,
)
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_codecs import FrameCodec

_SUBSCRIBING = 'POST'

_SUBSCRIBE = ('subscription_create', 'topic_subscription_create')


@dataclass(slots=True)
class Headers:
    """Headers of a frame, cached since clients send the same ones repeatedly.

    :ivar raw: as received
    :ivar is_binary: their encoding
    :ivar values: by their names in lower case
    :ivar shown: as answers repeat them
    :ivar identity: None until the first frame is authenticated
    """

    raw: bytes
    is_binary: bool
    values: Mapping[str, Any]
    shown: Mapping[str, Any]
    identity: Identity | None = None

    def is_same(self, raw: bytes, is_binary: bool) -> bool:
        """Tell whether the same headers were received again."""
        return self.raw == raw and self.is_binary is is_binary


@dataclass(slots=True)
class ParsedFrame:
    """A decoded frame; the one that begins a session has no ``row``."""

    row: Operation | None
    headers: Headers
    body: websocket_frame_arguments.Members


@dataclass(slots=True)
class OperationCall(response_views.RequestInfo):
    """A call of an operation, as a frame requests it.

    :ivar session_path: path of the equivalent HTTP request, from ``/v2`` on;
        '' if a signature authenticates the frame, not the session
    """

    row: Operation
    identity: Identity
    query: Mapping[str, Sequence[str]]
    body: websocket_frame_arguments.Members
    encoding: FrameCodec
    session_path: str

    @property
    def subscribes_itself(self) -> bool:
        """Tell whether the connection subscribes itself."""
        if self.row.name not in _SUBSCRIBE:
            return False
        subscriber = self.body.get('subscriber')
        return subscriber is None or self.encoding.value(subscriber) == ''

    def run(self, dispatcher: Dispatcher) -> Any:
        """Run the operation and return its result."""
        return dispatcher.run(
            self.row,
            self.identity,
            scope=self.scope,
            path=self.path,
            values=self.query,
            read_body=lambda *_: websocket_frame_arguments.document(
                self.row, self.body, self.encoding
            ),
        )


class Session:
    """The state that the frames of one connection share.

    :ivar logged: context of log entries
    :param address: URI under which messages can be pushed to the connection
    """

    def __init__(
        self, authenticator: Authenticator, connection_id: str, address: str
    ) -> None:
        self.logged = context.RequestContext(overwrite=False)
        self._authenticator = authenticator
        self._address = address
        self._credentials: Credentials | None = None
        self._headers: Headers | None = None
        self._subscriptions: list[OwnedSubscription] = []
        # Ids of requests count up in the last part of the connection's.
        self._id = f'req-{connection_id.rpartition("-")[0]}'
        self._count = 0

    @property
    def project(self) -> str | None:
        """Return the project of the credentials, None without any."""
        return self._credentials.project if self._credentials else None

    def next_request(self) -> str:
        """Give logs of this thread the id of a new request; return it."""
        self._count += 1
        request_id = f'{self._id}-{self._count:012x}'
        self.logged.request_id = request_id
        self.logged.project_id = None
        # Another thread, perhaps, than for the last frame.
        self.logged.update_store()
        return request_id

    def parse(
        self, data: bytes, encoding: FrameCodec, echo: answer_envelope.Echo
    ) -> ParsedFrame:
        """Decode a frame, and note what its answer repeats.

        :raises InvalidRequest: it is malformed
        """
        members = encoding.members(data)
        raw = members.get('action')
        action = None if raw is None else encoding.value(raw)
        echo.action = answer_envelope.action_shown(action)
        if 'headers' not in members:
            raise InvalidRequest('The frame has no headers.')
        headers = self._parse_headers(members['headers'], encoding)
        echo.headers = headers.shown
        body: websocket_frame_arguments.Members = {}
        if 'body' in members:
            body = encoding.members(members['body'])
            echo.body = members['body']
        if headers.values.get('prefer') == 'return=minimal':
            echo.body = answer_envelope.OMITTED
        if action == websocket_frame_arguments.AUTHENTICATE:
            return ParsedFrame(None, headers, body)
        return ParsedFrame(
            websocket_frame_arguments.operation(action), headers, body
        )

    def authenticate(
        self, headers: Mapping[str, Any]
    ) -> tuple[Credentials | None, Sequence[OwnedSubscription]]:
        """Take the credentials of a token.

        :returns: them, None where none are needed, and the subscriptions of
            former ones that end with them
        """
        credentials = self._authenticator.authenticate(headers)
        if credentials is None:
            return None, ()
        self._credentials = credentials
        # Their identity is that of the former credentials.
        self._headers = None
        # Here, not on the loop: each of them is matched with all rules.
        owned = self._subscriptions
        ended = [one for one in owned if not self._may_keep(credentials, one)]
        self._subscriptions = [one for one in owned if one not in ended]
        return credentials, ended

    def call(
        self, frame: ParsedFrame, row: Operation, encoding: FrameCodec
    ) -> OperationCall:
        """Return the authenticated call of an operation.

        :raises ZaqarError: it is not permitted, or malformed
        """
        headers, body = frame.headers, frame.body
        values = websocket_frame_arguments.path(row, body, encoding)
        identity = self._identity(headers, row, values)
        self.logged.project_id = identity.project
        # A signature is valid without the session.
        session_path = ''
        if not self._authenticator.is_signed(headers.values):
            method, session_path = websocket_frame_arguments.target(
                row, values
            )
            self._authenticator.check_rules(
                self._credentials, method, session_path
            )
        try:
            scope = client_project_queue_checks.scope(identity.project, values)
        except InvalidRequest as error:
            text = f'{websocket_frame_arguments.BAD_REQUEST}{error}'
            raise InvalidRequest(text) from None
        return OperationCall(
            scope,
            client_project_queue_checks.without_scope(values),
            encoding.body,
            row,
            identity,
            websocket_frame_arguments.query(row, body, encoding),
            body,
            encoding,
            session_path,
        )

    def add_subscription(self, subscription: OwnedSubscription) -> None:
        """Record a subscription of the connection itself."""
        self._subscriptions.append(subscription)

    def _parse_headers(
        self, raw: msgspec.Raw, encoding: FrameCodec
    ) -> Headers:
        text, cached = bytes(raw), self._headers
        if cached is not None and cached.is_same(text, encoding.is_binary):
            return cached
        headers = encoding.value(raw)
        values = websocket_frame_arguments.headers(headers)
        shown = answer_envelope.headers_shown(headers)
        self._headers = Headers(text, encoding.is_binary, values, shown)
        return self._headers

    def _may_keep(
        self, credentials: Credentials, subscription: OwnedSubscription
    ) -> bool:
        """Tell whether credentials cover a subscription of former ones."""
        if not subscription.path:
            return True
        return (
            subscription.scope.project == credentials.project
            and self._authenticator.is_permitted(
                credentials, _SUBSCRIBING, subscription.path
            )
        )

    def _identity(
        self, headers: Headers, row: Operation, values: Mapping[str, str]
    ) -> Identity:
        # A signature is valid for some operations and paths only.
        is_signed = self._authenticator.is_signed(headers.values)
        if headers.identity is None or is_signed:
            identity = self._authenticator.identity(
                row, values, headers.values, self._credentials
            )
            headers.identity = dataclasses.replace(
                identity, address=self._address
            )
        return headers.identity
