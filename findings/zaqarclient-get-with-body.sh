#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: the GET by which a client reads back what it has just created
# carries no body.
#
# python-zaqarclient 4.7.0 creates a subscription with a POST and then reads
# it with a GET that carries the body of the POST once more. RFC 9110 gives
# such a body no meaning, and proxies, load balancers and caches in front of
# the service may refuse the request or drop its connection; the subscription
# is created nevertheless. The answers come from a stub.
#
# Output:
#
#     POST 63 {"subscriber": "http://example.org", "ttl": 300, "options": {}}
#     GET 63 {"subscriber": "http://example.org", "ttl": 300, "options": {}}

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    python-zaqarclient==4.7.0 \
    setuptools==80.9.0

expected='POST 63 {"subscriber": "http://example.org", "ttl": 300, "options": {}}
GET 63 {"subscriber": "http://example.org", "ttl": 300, "options": {}}'

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

path = '/v2/queues/jobs/subscriptions'
made = {'id': 's1', 'subscriber': 'http://example.org', 'ttl': 300}
made |= {'age': 0, 'options': {}, 'source': 'jobs'}
ANSWERS['POST', path] = (201, {}, {'subscription_id': 's1'})
ANSWERS['GET', f'{path}/s1'] = (200, {}, made)
client.subscription('jobs', subscriber='http://example.org', ttl=300)
for method, _, headers, body in LOG:
    print(method, headers['Content-Length'], body)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
