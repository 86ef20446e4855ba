#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: with "notifiers = zaqar" Vitrage posts its alarms to a queue.
#
# vitrage 15.0.1 with python-zaqarclient 4.7.0: the notifier cannot be made,
# since the table of client modules does not have zaqar; the KeyError is
# logged, and None is used as the client. With the module added to the table
# every alarm is refused: it is posted as it is, where the API wants {"body":
# ..., "ttl": ...}, so that a service answers 400. The answers come from a
# stub.
#
# Output:
#
#     as it comes: NoneType object has no attribute queue
#     with a client: {"messages": [{"name": "cpu", "severity": "critical"}]}

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    vitrage==15.0.1 \
    python-zaqarclient==4.7.0

expected='as it comes: NoneType object has no attribute queue
with a client: {"messages": [{"name": "cpu", "severity": "critical"}]}'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import http.server
import json
import threading

ANSWERS = {}
LOG = []


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self):
        size = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(size).decode()
        path = self.path.split('?')[0]
        LOG.append((self.command, self.path, self.headers, body))
        status, headers, document = ANSWERS[self.command, path]
        data = b'' if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}'

from keystoneauth1 import noauth, session
from oslo_config import cfg
from vitrage import keystone_client, os_clients
from vitrage.common.constants import NotifierEventTypes
from vitrage.notifier.plugins import zaqar
from vitrage.notifier.plugins.zaqar import zaqar_notifier

cfg.CONF.register_opts(os_clients.OPTS)
cfg.CONF.register_opts(zaqar.OPTS, 'zaqar')
cfg.CONF([], project='vitrage', default_config_files=[])
own = session.Session(auth=noauth.NoAuth(endpoint=url))
keystone_client.get_session = lambda *_, **__: own
try:
    zaqar_notifier.ZaqarNotifier()
except AttributeError as error:
    print('as it comes:', str(error).replace(chr(39), ''))

os_clients._client_modules['zaqar'] = 'zaqarclient.queues.v2.client'
path = f'/v2/queues/{cfg.CONF.zaqar.queue}/messages'
ANSWERS['GET', '/'] = (300, {}, {'versions': []})
ANSWERS['POST', path] = (201, {}, {'resources': [f'{path}/m1']})
notifier = zaqar_notifier.ZaqarNotifier()
event = next(iter(NotifierEventTypes.ALARMS))
notifier.process_event({'name': 'cpu', 'severity': 'critical'}, event)
print('with a client:', LOG[-1][3])
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
