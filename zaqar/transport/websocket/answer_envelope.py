# SPDX-License-Identifier: Apache-2.0
"""Encoding of answers: status, body and what they repeat of the request.

:source: reference/websocket, "Frames"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zaqar.api import microversion_negotiation
from zaqar.microversion_constants import V2_1, Version
from zaqar.transport.websocket import response_views
from zaqar.transport.websocket.frame_codecs import FrameCodec

#: Stands for a body that is not repeated, on request of the client.
OMITTED = object()

#: Headers that are never repeated.
_SECRET = frozenset(('x-auth-token', 'url-signature'))

#: The header by which a client matches an answer with its request.
REQUEST_ID = 'request_id'

#: Types of an action that is repeated.
_SCALARS = (str, int, float, bool)


@dataclass(slots=True)
class Echo:
    """The part of a request that its answer repeats.

    :ivar named: headers of the answer that the request has named
    """

    action: Any = None
    body: Any = field(default_factory=dict)
    headers: Any = field(default_factory=dict)
    named: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> Mapping[str, Any]:
        """Return it as part of an answer."""
        document = {
            'action': self.action,
            'body': self.body,
            'headers': self.headers,
            'api': 'v2',
        }
        if self.body is OMITTED:
            del document['body']
        return document


def action_shown(action: Any) -> Any:
    """Return an action as it is repeated, None for arrays and objects."""
    return action if isinstance(action, _SCALARS) else None


def headers_shown(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return headers without secrets."""
    return {
        name: value
        for name, value in headers.items()
        if str(name).lower() not in _SECRET
    }


def headers_named(
    version: Version | None, values: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the headers of an answer besides its status.

    :param version: None if the client has named none
    :param values: headers of the request by their names in lower case
    """
    if version is None:
        return {}
    named = {microversion_negotiation.HEADER: version.header}
    if version >= V2_1 and REQUEST_ID in values:
        named[REQUEST_ID] = values[REQUEST_ID]
    return named


def encode(
    encoding: FrameCodec, echo: Echo, reply: response_views.Reply
) -> bytes:
    """Return the frame of an answer."""
    status, body = reply
    return encoding.encode(
        {
            'request': echo.document(),
            'body': body,
            'headers': {'status': status, **echo.named},
        }
    )
