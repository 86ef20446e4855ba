# SPDX-License-Identifier: Apache-2.0
"""One frame of a client answered: decode, see who asks, dispatch, shape.

Runs on a thread, one frame of a connection at a time.

:source: reference/websocket, "Frames", "Actions"
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from oslo_context import context

from zaqar.api import identity_checks, websocket_frames
from zaqar.api.dispatch import Dispatcher, Received
from zaqar.api.operation import Body, Operation
from zaqar.errors import InvalidRequest, ZaqarError
from zaqar.models import Identity
from zaqar.transport.turns import Turn, Turns
from zaqar.transport.websocket import codec, views
from zaqar.transport.websocket.access import Access, Session
from zaqar.transport.websocket.codec import FrameCodec
from zaqar.transport.websocket.protocol import Answer, Frame, Own

LOG = logging.getLogger(__name__)

#: What nobody gets back.
_SECRET = frozenset(('x-auth-token', 'url-signature'))

#: Stands for a body that the client does not want to see again.
_LEFT_OUT = object()

#: What an action may be and be repeated.
_SCALARS = (str, int, float, bool)

#: Makes the call of an action, given the headers of its frame.
Trace = Callable[[str, Mapping[str, Any], Callable[[], Any]], Any]

_SUBSCRIBING = 'POST'

_SUBSCRIBE = ('subscription_create', 'topic_subscription_create')


@dataclass(slots=True)
class Echo:
    """What an answer repeats of its request."""

    action: Any = None
    body: Any = field(default_factory=dict)
    headers: Any = field(default_factory=dict)

    def shown(self) -> Mapping[str, Any]:
        """Return it as part of an answer."""
        found = {
            'action': self.action,
            'body': self.body,
            'headers': self.headers,
            'api': 'v2',
        }
        if self.body is _LEFT_OUT:
            del found['body']
        return found


@dataclass(slots=True)
class Headers:
    """Headers as they came, with what has been found out of them.

    A client sends the same ones again and again.

    :ivar raw: as they came
    :ivar is_binary: their encoding
    :ivar values: by their names in small letters
    :ivar shown: what may be repeated
    :ivar identity: who says so, None until that is known
    """

    raw: bytes
    is_binary: bool
    values: Mapping[str, Any]
    shown: Mapping[str, Any]
    identity: Identity | None = None

    def is_same(self, raw: bytes, is_binary: bool) -> bool:
        """Tell whether these have come again."""
        return self.raw == raw and self.is_binary is is_binary


@dataclass(slots=True)
class Asked:
    """A frame that could be read.

    :ivar row: None for the frame that begins a session
    """

    row: Operation | None
    headers: Headers
    body: websocket_frames.Members


class Desk:
    """Answers frames of all connections.

    :param node: part of the URI under which connections can be told of
        messages; '' where none can
    :param trace: makes the calls, which are traced where that is wanted
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        access: Access,
        node: str = '',
        trace: Trace | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.access = access
        self.turns = Turns()
        self._trace = trace
        self._node = node

    def caller(self, connection: str) -> Caller:
        """Return who answers the frames of a new connection.

        :param connection: its id, a UUID
        """
        address = ''
        if self._node:
            address = f'websocket://{self._node}/{connection}'
        return Caller(self, connection, address)

    def run(self, call: Call, headers: Mapping[str, Any]) -> Any:
        """Return what an operation's function returns."""
        run = functools.partial(call.run, self.dispatcher)
        if self._trace is None:
            return run()
        return self._trace(call.row.name, headers, run)

    def forget(self, own: Own) -> None:
        """End a subscription whose connection is gone.

        :raises StoreUnavailable: not now
        """
        self.dispatcher.forget(own.scope, own.id)


class Caller:
    """Whoever is at the other end of one connection."""

    def __init__(self, desk: Desk, connection: str, address: str) -> None:
        self._desk = desk
        self._address = address
        self._session: Session | None = None
        self._known: Headers | None = None
        self._owns: list[Own] = []
        # Ids of requests count up in the last part of the connection's.
        self._id = f'req-{connection.rpartition("-")[0]}'
        self._count = 0
        self._logged = context.RequestContext(overwrite=False)

    def answer(self, frame: Frame) -> Answer:
        """Return the answer to a frame, whatever is in it."""
        encoding = codec.codec(frame.is_binary)
        turn = frame.turn or Turn(self._desk.turns)
        found = Answer(b'', frame.is_binary, turn=turn)
        echo = Echo()
        self._count += 1
        request_id = f'{self._id}-{self._count:012x}'
        logged = self._logged
        logged.request_id = request_id
        logged.project_id = None
        # Another thread, perhaps, than the last time.
        logged.update_store()
        try:
            said = self._said(frame.data, encoding, echo, found, logged, turn)
            found.project = logged.project_id or ''
            if turn.is_missed:
                found.frame = frame
                return found
            found.data = _encoded(encoding, echo, said)
            turn.record(len(found.data))
        except Exception:
            # The edge: what nobody foresaw is logged, and told to no one.
            LOG.exception('A frame could not be answered')
            text = f'Internal server error ({request_id}).'
            fault = {'error': text, 'exception': text}
            # Clients find by the action what has failed.
            known = Echo(echo.action)
            found.data = _encoded(encoding, known, (500, fault))
        return found

    def _said(
        self,
        data: bytes,
        encoding: FrameCodec,
        echo: Echo,
        found: Answer,
        logged: context.RequestContext,
        turn: Turn,
    ) -> views.Said:
        try:
            asked = self._read(data, encoding, echo)
            if asked.row is None:
                echo.body, echo.headers = {}, {}
                said = self._authenticate(asked.headers.values, found)
                if self._session is not None:
                    logged.project_id = self._session.project
                return said
            call = self._call(asked, asked.row, encoding, logged)
            found.is_proved = not call.session_path
        except ZaqarError as error:
            return error.status, {'error': str(error)}
        if not turn.begin(call.row.name, call.identity.project):
            return 503, {}
        try:
            result = self._desk.run(call, asked.headers.values)
        except ZaqarError as error:
            return views.refusal(call.row, error, call.asked)
        if call.is_own:
            found.own = Own(call.scope, result, call.session_path)
            self._owns.append(found.own)
        return views.view(call.row, result, call.asked)

    def _read(self, data: bytes, encoding: FrameCodec, echo: Echo) -> Asked:
        """Take a frame apart, and note what of it may be repeated.

        :raises InvalidRequest: it cannot be read
        """
        found = encoding.members(data)
        action = encoding.value(found['action']) if 'action' in found else None
        echo.action = action if isinstance(action, _SCALARS) else None
        if 'headers' not in found:
            raise InvalidRequest('The frame has no headers.')
        headers = self._headers(found['headers'], encoding)
        echo.headers = headers.shown
        body: websocket_frames.Members = {}
        if 'body' in found:
            body = encoding.members(found['body'])
            echo.body = found['body']
        if headers.values.get('prefer') == 'return=minimal':
            echo.body = _LEFT_OUT
        if action == websocket_frames.AUTHENTICATE:
            return Asked(None, headers, body)
        return Asked(websocket_frames.operation(action), headers, body)

    def _headers(self, raw: msgspec.Raw, encoding: FrameCodec) -> Headers:
        text, known = bytes(raw), self._known
        if known is not None and known.is_same(text, encoding.is_binary):
            return known
        given = encoding.value(raw)
        values = websocket_frames.headers(given)
        shown = {
            name: value
            for name, value in given.items()
            if str(name).lower() not in _SECRET
        }
        self._known = Headers(text, encoding.is_binary, values, shown)
        return self._known

    def _authenticate(
        self, headers: Mapping[str, Any], found: Answer
    ) -> views.Said:
        session = self._desk.access.authenticate(headers)
        if session is not None:
            self._session = session
            # Who it was has been found out of the former one.
            self._known = None
            found.is_proved = True
            found.expires_at = session.expires_at
            # Here, not on the loop: each rule is matched with each of them.
            found.ended = [
                own for own in self._owns if not self._may_keep(session, own)
            ]
            self._owns = [own for own in self._owns if own not in found.ended]
        return 200, {'message': 'Authenticated.'}

    def _may_keep(self, session: Session, own: Own) -> bool:
        """Tell whether a session may have what a former one has made."""
        if not own.path:
            return True
        access = self._desk.access
        return own.scope.project == session.project and access.is_permitted(
            session, _SUBSCRIBING, own.path
        )

    def _call(
        self,
        asked: Asked,
        row: Operation,
        encoding: FrameCodec,
        logged: context.RequestContext,
    ) -> Call:
        access, headers = self._desk.access, asked.headers
        values = websocket_frames.path(row, asked.body, encoding)
        identity = self._identity(headers, row, values)
        # Known to be true by now.
        logged.project_id = identity.project
        # A signature decides without the session.
        session_path = ''
        if not access.is_signed(headers.values):
            method, session_path = websocket_frames.target(row, values)
            access.check_rules(self._session, method, session_path)
        try:
            scope = identity_checks.scope(identity.project, values)
        except InvalidRequest as error:
            raise InvalidRequest(
                f'{websocket_frames.BAD_REQUEST}{error}'
            ) from None
        query = websocket_frames.query(row, asked.body, encoding)
        further = {
            name: value
            for name, value in values.items()
            if name not in identity_checks.SCOPES
        }
        return Call(
            row,
            identity,
            scope,
            further,
            query,
            asked.body,
            encoding,
            session_path,
        )

    def _identity(
        self, headers: Headers, row: Operation, values: Mapping[str, str]
    ) -> Identity:
        access = self._desk.access
        # A signature is good for some operations and paths, not for all.
        if headers.identity is None or access.is_signed(headers.values):
            found = access.identity(row, values, headers.values, self._session)
            headers.identity = dataclasses.replace(
                found, address=self._address
            )
        return headers.identity


@dataclass(slots=True)
class Call:
    """What a frame asks for, and who does.

    :ivar session_path: of the HTTP request that would say the same, from
        ``/v2`` on; '' where a signature decides, not the session
    """

    row: Operation
    identity: Identity
    scope: Any
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    body: websocket_frames.Members
    encoding: FrameCodec
    session_path: str

    @property
    def asked(self) -> views.Asked:
        """Return what a view may want to know of the request."""
        return views.Asked(self.scope, self.path, self.encoding.body)

    @property
    def is_own(self) -> bool:
        """Tell whether the connection subscribes itself."""
        if self.row.name not in _SUBSCRIBE:
            return False
        given = self.body.get('subscriber')
        return given is None or self.encoding.value(given) == ''

    def run(self, dispatcher: Dispatcher) -> Any:
        """Return what the operation's function returns."""
        return dispatcher.run(
            self.row,
            self.identity,
            scope=self.scope,
            path=self.path,
            values=self.query,
            read_body=self._read_body,
        )

    def _read_body(self, body: Body, most: int) -> Received | None:
        return websocket_frames.document(self.row, self.body, self.encoding)


def _encoded(encoding: FrameCodec, echo: Echo, said: views.Said) -> bytes:
    status, body = said
    return encoding.encode(
        {
            'request': echo.shown(),
            'body': body,
            'headers': {'status': status},
        }
    )
