#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: <service>_default_microversion makes openstacksdk send that version
# with each request, whether the endpoint comes from a catalogue or from
# <service>_endpoint_override, and takes "latest" as keystoneauth does.
#
# openstacksdk 4.22.0 does so with a catalogue. With an override it reads the
# versions at the endpoint, overrides the endpoint with the URL of the version
# that it finds, and looks for versions again there; a service that lists them
# at its root alone cannot be used. "latest" is compared with the range that the
# service has, as a number that is in none. The answers come from a stub.
#
# Output:
#
#     catalogue: message 2.1
#     override: DiscoveryFailure
#     latest: ConfigException

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    openstacksdk==4.22.0

expected='catalogue: message 2.1
override: DiscoveryFailure
latest: ConfigException'

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
from keystoneauth1 import access, noauth, session
from keystoneauth1.identity import base


class Catalogue(base.BaseIdentityPlugin):
    def get_auth_ref(self, session, **_):
        endpoint = {'interface': 'public', 'url': url}
        token = {
            'expires_at': '2099-01-01T00:00:00Z',
            'project': {'id': 'a-project', 'domain': {}},
            'catalog': [{'type': 'messaging', 'endpoints': [endpoint]}],
        }
        return access.AccessInfoV3({'token': token}, auth_token='none')


version = {'id': '2', 'status': 'CURRENT', 'version': '2.1'}
version |= {'min_version': '2.0', 'links': [{'href': '/v2/', 'rel': 'self'}]}
ANSWERS['GET', '/'] = (300, {}, {'versions': [version]})
ANSWERS['GET', '/v2/'] = (200, {}, {'resources': {}})
ANSWERS['GET', '/v2/queues'] = (200, {}, {'queues': [], 'links': []})


def sent(auth, **options):
    try:
        cloud = openstack.connection.Connection(
            session=session.Session(auth=auth), **options
        )
        list(cloud.message.queues())
    except Exception as error:
        return type(error).__name__
    return LOG[-1][2]['OpenStack-API-Version']


new = {'messaging_default_microversion': '2.1'}
print('catalogue:', sent(Catalogue(), **new))
there = {'messaging_endpoint_override': url, 'messaging_api_version': '2'}
print('override:', sent(noauth.NoAuth(endpoint=url), **new, **there))
newest = {'messaging_default_microversion': 'latest'}
print('latest:', sent(Catalogue(), **newest))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
