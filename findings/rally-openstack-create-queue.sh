#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: the scenario ZaqarBasic.create_queue of Rally measures how long a
# service takes to create a queue.
#
# rally-openstack 4.1.0 with python-zaqarclient 4.7.0 sends no request at all:
# with version 2 of the API, the only one that Rally supports, the client
# makes an object and leaves the creation to the first message. The action
# zaqar.create_queue takes no time on any service, and passes on one that is
# down. The service is a stub that counts requests.
#
# Output:
#
#     zaqar.create_queue measured, 0 requests

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    rally-openstack==4.1.0 \
    rally==5.1.1 \
    python-zaqarclient==4.7.0

expected='zaqar.create_queue measured, 0 requests'

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

from rally.task import scenario
from rally_openstack.task.scenarios.zaqar import basic
from zaqarclient.queues import client as queues

auth = {'backend': 'noauth', 'options': {'os_project_id': 'a-project'}}
client = queues.Client(url, version=2, conf={'auth_opts': auth})
run = basic.CreateQueue.__new__(basic.CreateQueue)
scenario.Scenario.__init__(run, {'task': {'uuid': 'x'}, 'owner_id': 'x'})
run.clients = lambda name: client
run.run()
(action,) = run.atomic_actions()
print(action['name'], f'measured, {len(LOG)} requests')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
