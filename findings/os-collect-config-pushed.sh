#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: os-collect-config takes the metadata of its server from its queue
# once, over HTTP and over WebSocket alike.
#
# os-collect-config 14.1.0 with use_websockets: what is waiting is popped and
# gone, but what arrives while it waits is taken from the push, which leaves
# the message in the queue. The next run pops the same document once more, and
# a newer one comes after it: metadata goes back for one run. (It wants
# websocket-client, which neither it nor python-zaqarclient installs.) The two
# talk to a stub on websockets 15.0.1 that speaks as the API says; each frame
# that the collector sends is shown.
#
# Output:
#
#     queue_create
#     subscription_create
#     message_delete_many finds 0
#     run 1 collects {"n": 1}
#     queue_create
#     subscription_create
#     message_delete_many finds 1
#     run 2 collects {"n": 1}

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    os-collect-config==14.1.0 \
    python-zaqarclient==4.7.0 \
    websocket-client==1.9.2 \
    websockets==15.0.1 \
    setuptools==80.9.0

expected='queue_create
subscription_create
message_delete_many finds 0
run 1 collects {"n": 1}
queue_create
subscription_create
message_delete_many finds 1
run 2 collects {"n": 1}'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import asyncio
import json
import threading

import websockets
from os_collect_config import zaqar
from oslo_config import cfg

ready = threading.Event()
stored = []


def answer(frame):
    action, body = frame['action'], {}
    status = {'authenticate': 200, 'message_delete_many': 200}
    if action == 'message_delete_many':
        body = {'messages': [stored.pop(0)] if stored else []}
        print(action, 'finds', len(body['messages']))
    elif action != 'authenticate':
        print(action)
    headers = {'status': status.get(action, 201)}
    return {'request': frame, 'headers': headers, 'body': body}


async def converse(socket):
    async for text in socket:
        frame = json.loads(text)
        await socket.send(json.dumps(answer(frame)))
        if frame['action'] == 'message_delete_many' and not pushed:
            pushed.append(1)
            message = {'body': {'n': 1}, 'ttl': 300}
            stored.append(message)
            await socket.send(json.dumps(message))


async def serve():
    global port
    async with websockets.serve(converse, '127.0.0.1', 0) as server:
        port = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.Future()


class Catalogue:
    def url_for(self, **_):
        return f'ws://127.0.0.1:{port}'


class Keystone:
    service_catalog = Catalogue()


pushed = []
threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
ready.wait()
cfg.CONF.register_opts(zaqar.opts, 'zaqar')
cfg.CONF([], project='nobody', default_config_files=[])
cfg.CONF.set_override('queue_id', 'server', 'zaqar')
options = {'os_auth_token': 'a-token', 'os_project_id': 'a-project'}
conf = {'auth_opts': {'backend': 'keystone', 'options': options}}
for run in (1, 2):
    data = zaqar.Collector().get_data_websocket(Keystone(), conf)
    print(f"run {run} collects", json.dumps(data))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
