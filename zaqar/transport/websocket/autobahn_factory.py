# SPDX-License-Identifier: Apache-2.0
"""The factory of autobahn's connections, with our options."""

import asyncio

import txaio
from autobahn.asyncio.websocket import WebSocketServerFactory

from zaqar.transport.websocket.autobahn_adapter import AutobahnSocket
from zaqar.transport.websocket.connection_manager import Connections

#: Seconds for the handshake, and for the client's close frame.
_HANDSHAKE = 5
_CLOSING = 1


class Factory(WebSocketServerFactory):  # type: ignore[misc]
    """Creates connections."""

    protocol = AutobahnSocket

    def __init__(
        self, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> None:
        # Timers and futures of autobahn use one loop, which is set here.
        txaio.use_asyncio()
        txaio.config.loop = loop
        super().__init__(server='', loop=loop)
        self.connections = connections
        most = connections.settings.max_frame_size
        self.setProtocolOptions(
            webStatus=False,
            failByDrop=False,
            maxFramePayloadSize=most,
            maxMessagePayloadSize=most,
            openHandshakeTimeout=_HANDSHAKE,
            closeHandshakeTimeout=_CLOSING,
            allowNullOrigin=True,
        )
        self.protocol = self._configured()

    def _configured(self) -> type[AutobahnSocket]:
        """Return a class of connections that has our options already.

        autobahn copies them into each connection, and formats them for a log
        entry that is off: two thirds of the time that a connection takes.
        """
        names = (
            name
            for name in AutobahnSocket.CONFIG_ATTRS
            if not hasattr(AutobahnSocket, name)
        )
        values = {
            name: staticmethod(value) if callable(value) else value
            for name in names
            for value in (getattr(self, name),)
        }
        return type(
            'AutobahnSocket', (AutobahnSocket,), {**values, 'CONFIG_ATTRS': ()}
        )
