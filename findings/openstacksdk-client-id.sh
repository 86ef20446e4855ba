#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a connection of openstacksdk is one client of the Messaging API: it
# sends one Client-ID, so that a listing leaves out what the same connection
# has posted (echo=false, the default of the API).
#
# openstacksdk 4.22.0 makes a new random Client-ID for every call that is not
# given one. Listing shows the own messages as those of somebody else, and
# echo means nothing. The answers come from a stub.
#
# Output:
#
#     4 requests, 4 names of the client

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    openstacksdk==4.22.0

expected='4 requests, 4 names of the client'

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

import openstack
from keystoneauth1 import noauth, session


class Project(noauth.NoAuth):
    def get_project_id(self, session, **_):
        return 'a-project'


def connect():
    version = {'id': '2', 'status': 'CURRENT'}
    version['links'] = [{'href': f'{url}/v2/', 'rel': 'self'}]
    ANSWERS['GET', '/'] = (300, {}, {'versions': [version]})
    return openstack.connection.Connection(
        session=session.Session(auth=Project(endpoint=url)),
        messaging_endpoint_override=url,
        messaging_api_version='2',
    ).message


path = '/v2/queues/jobs/messages'
proxy = connect()
ANSWERS['POST', path] = (201, {}, {'resources': [f'{path}/m1']})
ANSWERS['GET', path] = (200, {}, {'messages': [], 'links': []})
for _ in range(2):
    proxy.post_message('jobs', [{'body': 'job', 'ttl': 300}])
    list(proxy.messages('jobs'))
sent = [headers['Client-ID'] for _, at, headers, _ in LOG if at == path]
print(f'{len(sent)} requests, {len(set(sent))} names of the client')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
