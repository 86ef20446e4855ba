#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: create_claim of openstacksdk returns the claim that the Messaging
# API has answered with, its id taken from the header Location.
#
# openstacksdk 4.22.0 raises AttributeError for every answer 201: it reads the
# id from its attribute "location", which is not the header but the
# description of the cloud (region, project). By then the service has claimed
# the messages: they are invisible until the claim expires, and the caller has
# neither them nor the id to release them. An answer 204 (nothing to claim)
# works, so that a test with an empty queue passes. The answers come from a
# stub, as the API reference has them.
#
# Output:
#
#     nothing to claim: Claim
#     one message: AttributeError split

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    openstacksdk==4.22.0

expected='nothing to claim: Claim
one message: AttributeError split'

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


message = {'id': 'm1', 'ttl': 300, 'age': 1, 'body': 'job'}
message['href'] = '/v2/queues/jobs/messages/m1?claim_id=c1'
path = '/v2/queues/jobs/claims'
proxy = connect()
ANSWERS['POST', path] = (204, {}, None)
claim = proxy.create_claim('jobs', ttl=300, grace=60)
print('nothing to claim:', type(claim).__name__)
ANSWERS['POST', path] = (
    201,
    {'Location': f'{path}/c1'},
    {'messages': [message]},
)
try:
    print('one message:', proxy.create_claim('jobs', ttl=300, grace=60).id)
except Exception as error:
    print('one message:', type(error).__name__, error)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
