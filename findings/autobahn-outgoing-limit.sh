#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: maxMessagePayloadSize of a WebSocket server bounds what clients may
# send, and not what the server sends.
#
# autobahn 26.10.2: the same option bounds what the server sends. sendMessage
# raises PayloadExceededError for an answer that is larger than the largest
# request, and the client waits for it. A server that takes small requests and
# gives large answers has no option for that.
#
# Output:
#
#     received 900 bytes
#     sending 2000 bytes: PayloadExceededError

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    autobahn==26.10.2

expected='received 900 bytes
sending 2000 bytes: PayloadExceededError'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import asyncio

from autobahn.asyncio.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)

done = asyncio.Event()


class Server(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        print(f'received {len(payload)} bytes')
        try:
            self.sendMessage(bytes(2000))
            print('sent 2000 bytes')
        except Exception as error:
            print(f'sending 2000 bytes: {type(error).__name__}')
        done.set()


class Client(WebSocketClientProtocol):
    def onOpen(self):
        self.sendMessage(bytes(900))


async def main():
    loop = asyncio.get_running_loop()
    served = WebSocketServerFactory()
    served.protocol = Server
    served.setProtocolOptions(maxMessagePayloadSize=1000)
    listener = await loop.create_server(served, '127.0.0.1', 0)
    port = listener.sockets[0].getsockname()[1]
    asking = WebSocketClientFactory(f'ws://127.0.0.1:{port}')
    asking.protocol = Client
    await loop.create_connection(asking, '127.0.0.1', port)
    await asyncio.wait_for(done.wait(), 30)


asyncio.run(main())
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
