# SPDX-License-Identifier: Apache-2.0
"""The format in which event streams send messages: Server-Sent Events."""

from collections.abc import Iterable

from zaqar.microversion_constants import V2_1
from zaqar.objects import Message, Scope
from zaqar.transport.websocket.recent_stream_events import Rendering
from zaqar.transport.wsgi import response_views
from zaqar.transport.wsgi.responses import encode


def _as_event(message: Message, now: int, scope: Scope) -> bytes:
    folder = f'{response_views.base(scope)}/messages'
    text = encode(response_views.message(message, now, folder, V2_1))
    # Bodies are as they were posted; JSON has line breaks between values only.
    line = text.replace(b'\r', b' ').replace(b'\n', b' ')
    return b'id: %b\nevent: message\ndata: %b\n\n' % (
        message.marker.encode(),
        line,
    )


class EventFormat:
    """Server-Sent Events."""

    @property
    def rendering(self) -> Rendering:
        return _as_event

    def joined(self, parts: Iterable[bytes]) -> bytes:
        return b''.join(parts)


EVENTS = EventFormat()
