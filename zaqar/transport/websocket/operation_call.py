# SPDX-License-Identifier: Apache-2.0
"""A call of an operation that a frame requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.api import websocket_frame_arguments
from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation import Operation
from zaqar.api.requests_with_wait import WAIT, Postponable
from zaqar.identity import Identity
from zaqar.transport.websocket import response_views
from zaqar.transport.websocket.frame_codecs import FrameCodec

_AT_ONCE = ['0']

_SUBSCRIBE = ('subscription_create', 'topic_subscription_create')


@dataclass(slots=True)
class OperationCall(response_views.RequestInfo):
    """A call of an operation, as a frame requests it.

    :ivar values: of the path of the equivalent HTTP request
    :ivar is_signed: whether a signature authenticates the frame, not the
        session
    """

    row: Operation
    identity: Identity
    query: Mapping[str, Sequence[str]]
    body: websocket_frame_arguments.Members
    encoding: FrameCodec
    values: Mapping[str, str]
    is_signed: bool

    @property
    def session_path(self) -> str:
        """Path of the HTTP request, from ``/v2`` on; '' if it is signed."""
        if self.is_signed:
            return ''
        return websocket_frame_arguments.target(self.row, self.values)[1]

    @property
    def subscribes_itself(self) -> bool:
        """Tell whether the connection subscribes itself."""
        if self.row.name not in _SUBSCRIBE:
            return False
        subscriber = self.body.get('subscriber')
        return subscriber is None or self.encoding.value(subscriber) == ''

    @property
    def waits(self) -> bool:
        """Tell whether it may be answered after later frames."""
        return self.query.get(WAIT, _AT_ONCE) != _AT_ONCE

    def run(
        self, dispatcher: Dispatcher, request: Postponable | None, key: Any
    ) -> Any:
        """Run the operation and return its result.

        :param key: see :meth:`zaqar.api.dispatch.Dispatcher.run`
        """
        return dispatcher.run(
            self.row,
            self.identity,
            scope=self.scope,
            path=self.path,
            values=self.query,
            read_body=lambda *_: websocket_frame_arguments.document(
                self.row, self.body, self.encoding
            ),
            version=self.version,
            request=request,
            key=key,
        )
