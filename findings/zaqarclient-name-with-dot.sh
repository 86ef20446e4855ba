#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: whatever name a queue has, a client that lists queues shows it;
# what names there may be is for the service to say.
#
# python-zaqarclient 4.7.0 has a copy of a rule about names, without the dot.
# Where the service has a queue jobs.v2, which another client may have made,
# queue() refuses it before a request is sent, and queues() raises ValueError
# in the middle of the page, so that the queues behind it are not listed.
# openstacksdk 4.22.0 works with it. The answers come from a stub.
#
# Output:
#
#     openstacksdk: jobs
#     openstacksdk: jobs.v2
#     openstacksdk: more
#     python-zaqarclient: jobs
#     python-zaqarclient: ValueError
#     queue('jobs.v2'): ValueError after 0 requests

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    openstacksdk==4.22.0 \
    python-zaqarclient==4.7.0 \
    setuptools==80.9.0

expected="openstacksdk: jobs
openstacksdk: jobs.v2
openstacksdk: more
python-zaqarclient: jobs
python-zaqarclient: ValueError
queue('jobs.v2'): ValueError after 0 requests"

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import http.server
import json
import threading

LOG = []


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        LOG.append(self.path)
        path, _, query = self.path.partition('?')
        version = {'id': '2', 'status': 'CURRENT'}
        version['links'] = [{'href': f'{url}/v2/', 'rel': 'self'}]
        # The page after the last one is empty.
        names = [] if 'marker' in query else ['jobs', 'jobs.v2', 'more']
        queues = [{'name': n, 'href': f'/v2/queues/{n}'} for n in names]
        links = [{'rel': 'next', 'href': '/v2/queues?marker=more'}]
        page = {'queues': queues, 'links': links}
        document = {'versions': [version]} if path == '/' else page
        data = json.dumps(document).encode()
        self.send_response(300 if path == '/' else 200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}'

import openstack
from keystoneauth1 import noauth, session
from zaqarclient.queues import client as queues


class Project(noauth.NoAuth):
    def get_project_id(self, session, **_):
        return 'a-project'


cloud = openstack.connection.Connection(
    session=session.Session(auth=Project(endpoint=url)),
    messaging_endpoint_override=url,
    messaging_api_version='2',
)
for queue in cloud.message.queues():
    print('openstacksdk:', queue.name)

auth = {'backend': 'noauth', 'options': {'os_project_id': 'a-project'}}
client = queues.Client(url, version=2, conf={'auth_opts': auth})
try:
    for queue in client.queues()[0]:
        print('python-zaqarclient:', queue.name)
except ValueError:
    print('python-zaqarclient: ValueError')
LOG.clear()
try:
    client.queue('jobs.v2')
except ValueError:
    print(f"queue('jobs.v2'): ValueError after {len(LOG)} requests")
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
