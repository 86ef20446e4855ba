#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: heat-config-notify of this year reports the end of a software
# deployment by a queue with the current python-zaqarclient.
#
# heat-agents 13.0.0 imports the client of version 1.1 of the API, which
# python-zaqarclient has not had since version 4: the failed import is passed
# over in silence, and the signal ends in an AttributeError on None, after
# Keystone has been asked. The stack waits until it times out. An image must
# hold python-zaqarclient 3.0.1, and the service version 1.1. (The wheel of
# heat-agents has release notes alone: the program is in the source archive.)
# Keystone is a stub.
#
# Output:
#
#     exit 1
#     AttributeError: NoneType object has no attribute Client
#     [] requested

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    python-zaqarclient==4.7.0 \
    python-keystoneclient==6.0.0 \
    requests==2.34.2 \
    fixtures==4.3.2 \
    setuptools==80.9.0

"$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps \
    --no-binary heat-agents --dest "$folder" heat-agents==13.0.0
tar -xzf "$folder"/heat_agents-13.0.0.tar.gz -C "$folder"

expected='exit 1
AttributeError: NoneType object has no attribute Client
[] requested'

seen=$(cd "$folder" && "$folder/venv/bin/python" - 2>/dev/null <<'END'
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

import pathlib
import subprocess
import sys

from keystoneauth1 import fixture

token = fixture.V3Token()
token.set_project_scope()
messaging = token.add_service('messaging')
messaging.add_standard_endpoints(public=f'{url}')
ANSWERS['POST', '/v3/auth/tokens'] = (201, {'X-Subject-Token': 't'}, token)
inputs = {
    'deploy_queue_id': 'signals',
    'deploy_auth_url': f'{url}/v3',
    'deploy_user_id': 'user',
    'deploy_password': 'pass',
    'deploy_project_id': 'project',
}
values = [{'name': n, 'value': value} for n, value in inputs.items()]
pathlib.Path('config.json').write_text(json.dumps({'inputs': values}))
program = 'heat_agents-13.0.0/heat-config/bin/heat-config-notify'
done = subprocess.run(
    [sys.executable, program, 'config.json'],
    input=json.dumps({'deploy_status_code': 0}),
    capture_output=True,
    text=True,
)
print('exit', done.returncode)
print(done.stderr.splitlines()[-1].replace(chr(39), ''))
print([path for _, path, _, _ in LOG if 'auth' not in path], 'requested')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
