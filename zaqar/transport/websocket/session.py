# SPDX-License-Identifier: Apache-2.0
"""The session of a connection: all that its frames share.

Credentials, headers, the default version, ids of requests, subscriptions and
streams.

:source: reference/websocket, "Authentication"
"""

from msgspec import structs

from zaqar.api import client_project_queue_checks, websocket_frame_arguments
from zaqar.api.operation import Operation
from zaqar.controllers.streams import StreamStart
from zaqar.controllers.websocket_connection_quota import Place
from zaqar.errors import InvalidRequest, NotFound, ZaqarError
from zaqar.microversion_constants import Version
from zaqar.transport import log_context
from zaqar.transport.token_validation import Credentials
from zaqar.transport.websocket import frame_authentication, frame_parsing
from zaqar.transport.websocket.answer_envelope import Echo
from zaqar.transport.websocket.frame_and_answer_types import (
    Frame,
    FrameAnswer,
    OwnedStream,
    OwnedSubscription,
)
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_codecs import FrameCodec
from zaqar.transport.websocket.frame_parsing import Headers, ParsedFrame
from zaqar.transport.websocket.operation_call import OperationCall

#: Streams that a connection may have.
MOST_STREAMS = 100

_SUBSCRIBING = 'POST'
_READING = 'GET'

_NOT_PERMITTED = 'The token does not permit this stream.'


class TooManyStreams(ZaqarError, status=403, title='Too many streams'):
    """A connection has as many streams as it may have."""


class Session:
    """The state that the frames of one connection share.

    :ivar caller: the project of the present frame, '' if unknown
    :ivar streams: of the connection, by their ids; the loop removes those that
        the server ends
    :ivar place: of the connection among those of its project
    :param address: URI under which messages can be pushed to the connection
    """

    def __init__(
        self,
        authenticator: Authenticator,
        connection_id: str,
        address: str,
        place: Place | None = None,
    ) -> None:
        self.place = place or Place()
        self.caller = ''
        self._authenticator = authenticator
        self._address = address
        self._credentials: Credentials | None = None
        self._headers: Headers | None = None
        self._version: Version | None = None
        self._subscriptions: list[OwnedSubscription] = []
        self.streams: dict[str, OwnedStream] = {}
        self._streams_begun = 0
        # Ids of requests count up in the last part of the connection's.
        self._id = f'req-{connection_id.rpartition("-")[0]}'
        self._count = 0

    @property
    def project(self) -> str | None:
        """Return the project of the credentials, None without any."""
        return self._credentials.project if self._credentials else None

    def next_request(self) -> str:
        """Give logs of the present frame the id of a new request; return it.

        The frame before may have been answered in another thread or greenlet.
        """
        self._count += 1
        request_id = f'{self._id}-{self._count:012x}'
        self.caller = ''
        log_context.begin_with(request_id)
        return request_id

    def name(self, project: str) -> None:
        """Note the project of the present frame, and let logs show it."""
        self.caller = project
        log_context.name_project(
            project
            if project.isascii()
            else frame_authentication.latin(project)
        )

    def parse(
        self, frame: Frame, encoding: FrameCodec, echo: Echo
    ) -> ParsedFrame:
        """Decode a frame, and note what its answer repeats.

        :raises InvalidRequest: it is malformed
        """
        opened, frame.opened = frame.opened, None
        parsed = frame_parsing.parse(
            opened or frame_parsing.opened(frame.data, encoding),
            encoding,
            echo,
            self._headers,
            self._version,
        )
        self._headers = parsed.headers
        return parsed

    def authenticate(self, headers: Headers, answer: FrameAnswer) -> None:
        """Take the credentials of a token, and the default version.

        What the connection owns by former ones, and these do not cover, ends.
        """
        credentials = self._authenticator.authenticate(headers.values)
        self._version = headers.requested
        # They have the identity and the version of before.
        self._headers = None
        if credentials is None:
            return
        self.place.take(credentials.project)
        self._credentials = credentials
        # Here, not on the loop: each of them is matched with all rules.
        owned = self._subscriptions
        ended = [
            one
            for one in owned
            if not self._may_keep(credentials, one, _SUBSCRIBING)
        ]
        self._subscriptions = [one for one in owned if one not in ended]
        answer.is_proved = True
        answer.expires_at = credentials.expires_at
        answer.ended = ended
        answer.ended_streams = {
            one.id: _NOT_PERMITTED
            for one in list(self.streams.values())
            if not self._may_keep(credentials, one, _READING)
        }

    def call(
        self, frame: ParsedFrame, row: Operation, encoding: FrameCodec
    ) -> OperationCall:
        """Return the authenticated call of an operation.

        :raises ZaqarError: it is not permitted, or malformed
        """
        headers, body = frame.headers, frame.body
        values = websocket_frame_arguments.path(row, body, encoding)
        stream = self.streams.get(values.get(row.member, ''))
        if stream is not None:
            values['queue_name'] = stream.scope.name
        # A signature is valid for some operations and paths, and without the
        # session.
        is_signed = self._authenticator.is_signed(headers.values)
        identity = headers.identity
        if identity is None or is_signed:
            identity = headers.identity = structs.replace(
                self._authenticator.identity(
                    row, values, headers.values, self._credentials
                ),
                address=self._address,
            )
        if row.member and stream is None:
            raise NotFound('The connection has no such stream.')
        self.name(identity.project)
        if self.place.project is None:
            # Without a token its first frame tells whose connection it is.
            self.place.take(identity.project)
        credentials = self._credentials
        if credentials is not None and not is_signed:
            self._authenticator.check_rules(
                credentials, *websocket_frame_arguments.target(row, values)
            )
        rest = {**values}
        try:
            scope = client_project_queue_checks.take_scope(
                identity.project, rest
            )
        except InvalidRequest as error:
            text = f'{websocket_frame_arguments.BAD_REQUEST}{error}'
            raise InvalidRequest(text) from None
        return OperationCall(
            scope,
            rest,
            encoding.body,
            headers.version,
            row,
            identity,
            websocket_frame_arguments.query(
                row, body, encoding, headers.version
            ),
            body,
            encoding,
            values,
            is_signed,
        )

    def add_subscription(self, subscription: OwnedSubscription) -> None:
        """Record a subscription of the connection itself."""
        self._subscriptions.append(subscription)

    def begin_stream(
        self, call: OperationCall, start: StreamStart
    ) -> OwnedStream:
        """Record a stream of the connection.

        :raises TooManyStreams: there is no room for it
        """
        if len(self.streams) >= MOST_STREAMS:
            raise TooManyStreams(
                f'A connection may have at most {MOST_STREAMS} streams.'
            )
        self._streams_begun += 1
        stream = OwnedStream(
            str(self._streams_begun),
            start,
            call.encoding.is_binary,
            call.session_path,
        )
        self.streams[stream.id] = stream
        return stream

    def _may_keep(
        self,
        credentials: Credentials,
        owned: OwnedSubscription | OwnedStream,
        method: str,
    ) -> bool:
        """Tell whether credentials cover what former ones have made."""
        if not owned.path:
            return True
        return (
            owned.scope.project == credentials.project
            and self._authenticator.is_permitted(
                credentials, method, owned.path
            )
        )
