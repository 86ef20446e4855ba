# SPDX-License-Identifier: Apache-2.0
"""Handling of frames: decode, authenticate, dispatch, encode the answer.

Runs on a thread, or in a greenlet, one frame of a connection at a time.

:source: reference/websocket, "Frames", "Actions"
"""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation_declarations import streams
from zaqar.controllers import idempotency_key
from zaqar.controllers.result_types import Posted
from zaqar.controllers.websocket_connection_quota import Place, Sockets
from zaqar.errors import InvalidRequest, ZaqarError
from zaqar.event_loop_greenlets import offload
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import Turn
from zaqar.transport.websocket import (
    answer_envelope,
    frame_codecs,
    response_views,
)
from zaqar.transport.websocket.answer_envelope import Echo
from zaqar.transport.websocket.frame_and_answer_types import (
    Frame,
    FrameAnswer,
    OwnedSubscription,
)
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_codecs import FrameCodec
from zaqar.transport.websocket.frame_parsing import Headers
from zaqar.transport.websocket.operation_call import OperationCall
from zaqar.transport.websocket.session import Session

#: By its name in lower case.
_IDEMPOTENCY_KEY = idempotency_key.HEADER.lower()

LOG = logging.getLogger(__name__)

#: Runs an action in a trace, given the headers of its frame.
Trace = Callable[[str, Mapping[str, Any], Callable[[], Any]], Any]


class FrameHandler:
    """Answers the frames of all connections.

    :param node: part of the URI under which messages can be pushed to
        connections; '' if they cannot
    :param sockets: counts connections, None to count none
    :param max_unread: see :class:`zaqar.transport.large_page_fairness.Turns`
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        node: str = '',
        trace: Trace | None = None,
        max_unread: int = 0,
        sockets: Sockets | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.authenticator = authenticator
        self.turns = Turns(max_unread)
        self._trace = trace
        self._node = node
        self._sockets = sockets

    def session(self, connection_id: str) -> Session:
        """Return the session of a new connection, whose id is a UUID."""
        address = ''
        if self._node:
            address = f'websocket://{self._node}/{connection_id}'
        place = Place(self._sockets)
        return Session(self.authenticator, connection_id, address, place)

    def answer(self, session: Session, frame: Frame) -> FrameAnswer:
        """Return the answer to a frame, whatever it holds."""
        encoding = frame_codecs.codec(frame.is_binary)
        turn = frame.turn or Turn(self.turns, frame.size)
        answer = FrameAnswer(b'', frame.is_binary, turn=turn)
        echo = Echo()
        request_id = session.next_request()
        try:
            reply = self._reply(session, frame, turn, encoding, echo, answer)
            answer.project = session.caller
            if turn.is_missed:
                answer.frame = frame
                return answer
            encode = answer_envelope.encode
            if turn.holds_up_loop:
                answer.data = offload(encode, encoding, echo, reply)
            else:
                answer.data = encode(encoding, echo, reply)
            turn.record(len(answer.data))
        except Exception:
            # Details of an unforeseen error are for the log alone.
            LOG.exception('A frame could not be answered')
            text = f'Internal server error ({request_id}).'
            fault = {'error': text, 'exception': text}
            # Clients match answers by the action.
            answer.data = answer_envelope.encode(
                encoding, Echo(echo.action, named=echo.named), (500, fault)
            )
        return answer

    def _reply(
        self,
        session: Session,
        frame: Frame,
        turn: Turn,
        encoding: FrameCodec,
        echo: Echo,
        answer: FrameAnswer,
    ) -> response_views.Reply:
        try:
            parsed = session.parse(frame, encoding, echo)
            if parsed.row is None:
                echo.body, echo.headers = {}, {}
                return _authenticate(session, parsed.headers, answer)
            call = session.call(parsed, parsed.row, encoding)
            if call.waits and not _has_id(parsed.headers):
                # Its answer could not be matched with it.
                name = answer_envelope.REQUEST_ID
                raise InvalidRequest(
                    f'A frame that waits needs the header {name}.'
                )
            answer.is_proved = call.is_signed
        except ZaqarError as error:
            return error.status, {'error': str(error)}
        try:
            if not turn.begin(call.row.name, call.identity.project):
                return 503, {}
            # Without an id its answer could not be matched later.
            may_wait = (
                call.row.waiting is not None
                and frame.may_wait
                and _has_id(parsed.headers)
            )
            result = self._run(
                call, parsed.headers.values, turn if may_wait else None
            )
            if turn.is_missed:
                return 503, {}
            turn.weigh(result)
            if call.row is streams.STREAM:
                result = answer.stream = session.begin_stream(call, result)
        except ZaqarError as error:
            return response_views.refusal(call.row, error, call)
        if isinstance(result, Posted) and result.is_replayed:
            echo.named = {**echo.named, idempotency_key.REPLAYED: 'true'}
        if call.subscribes_itself:
            answer.subscription = OwnedSubscription(
                call.scope, result.id, call.session_path
            )
            session.add_subscription(answer.subscription)
        elif call.row is streams.STREAM_END:
            answer.ended_streams = {result: ''}
        view = response_views.VIEWS[call.row.name]
        if turn.holds_up_loop:
            return offload(view, result, call)
        return view(result, call)

    def _run(
        self,
        call: OperationCall,
        headers: Mapping[str, Any],
        turn: Turn | None,
    ) -> Any:
        key = headers.get(_IDEMPOTENCY_KEY)
        run = functools.partial(call.run, self.dispatcher, turn, key)
        if self._trace is None:
            return run()
        return self._trace(call.row.name, headers, run)


def _has_id(headers: Headers) -> bool:
    return headers.values.get(answer_envelope.REQUEST_ID) is not None


def _authenticate(
    session: Session, headers: Headers, answer: FrameAnswer
) -> response_views.Reply:
    session.authenticate(headers, answer)
    session.name(session.project or '')
    return 200, {'message': 'Authenticated.'}
