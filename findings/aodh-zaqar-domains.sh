#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: an alarm of Aodh with the action zaqar://?topic=... is posted with
# the credentials of [service_credentials], as for everything else.
#
# aodh 23.0.0 with python-zaqarclient 4.7.0 passes user and project by name and
# without their domains, whatever the configuration says. Version 3 of the
# Identity API, the only one that Keystone has had since 2018, refuses that
# with 400. The alarm is lost, with a line in the log. Pre-signed URLs and
# trust+zaqar work. Keystone is a stub that shows the request.
#
# Output:
#
#     user: name password
#     project: name

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    aodh==23.0.0 \
    python-zaqarclient==4.7.0

expected='user: name password
project: name'

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

from aodh import keystone_client
from aodh.notifier import zaqar
from keystoneauth1 import loading
from oslo_config import cfg
from oslo_utils import netutils

version = {'id': 'v3.14', 'status': 'stable'}
version['links'] = [{'rel': 'self', 'href': f'{url}/v3/'}]
for path in ('/v3', '/v3/', '/'):
    ANSWERS['GET', path] = (200, {}, {'version': version})
error = {'error': {'code': 400, 'message': 'no domain', 'title': 'x'}}
ANSWERS['POST', '/v3/auth/tokens'] = (400, {}, error)

conf = cfg.ConfigOpts()
keystone_client.register_keystoneauth_opts(conf)
plugin = loading.get_plugin_loader('password')
options = [option._to_oslo_opt() for option in plugin.get_options()]
conf.register_opts(options, 'service_credentials')
credentials = {
    'auth_url': f'{url}/v3',
    'username': 'aodh',
    'password': 'pass',
    'project_name': 'service',
    'user_domain_name': 'Default',
    'project_domain_name': 'Default',
}
for name, value in credentials.items():
    conf.set_override(name, value, 'service_credentials')
conf([], project='aodh', default_config_files=[])
notifier = zaqar.ZaqarAlarmNotifier(conf)
notifier._zendpoint = url
action = netutils.urlsplit('zaqar://?topic=critical')
notifier.notify(action, 'a1', 'cpu', 'low', 'ok', 'alarm', 'why', {})
(asked,) = (json.loads(body)['auth'] for _, _, _, body in LOG if body)
print('user:', *sorted(asked['identity']['password']['user']))
print('project:', *sorted(asked['scope']['project']))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
