#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: queue.claim() of python-zaqarclient, whose ttl and grace are
# optional, leaves them to the defaults of the service.
#
# python-zaqarclient 4.7.0 sends both as null. The API wants numbers or
# nothing, so a service that checks answers 400, and the call without
# arguments, as its signature offers it, never works. The answers come from a
# stub.
#
# Output:
#
#     {"ttl": null, "grace": null}

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    python-zaqarclient==4.7.0 \
    setuptools==80.9.0

expected='{"ttl": null, "grace": null}'

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

from zaqarclient.queues import client as queues

auth = {'backend': 'noauth', 'options': {'os_project_id': 'a-project'}}
client = queues.Client(url, version=2, conf={'auth_opts': auth})

ANSWERS['POST', '/v2/queues/jobs/claims'] = (204, {}, None)
list(client.queue('jobs').claim())
print(LOG[-1][3])
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
