#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: an application credential whose access rules allow GET /v2/queues
# of the messaging service can read queues wherever Keystone protects that
# service, and something that the rules do not allow is 403.
#
# keystonemiddleware 13.0.1: as long as [keystone_authtoken] service_type is
# not set, which it is not by default, a token that carries access rules is
# refused for everything, with 401. Where it is set, what the rules do not
# allow is 401, too, so that clients ask for a new token and try again in
# vain. And the path of a rule is compared with the path outside the mount
# prefix: a service below /messaging needs rules that begin with /messaging.
#
# Output:
#
#     allowed, no service_type: 401
#     allowed: 200
#     not allowed: 401
#     allowed, below a prefix: 401

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keystonemiddleware==13.0.1 \
    WebOb==1.8.11 \
    fixtures==4.3.2 \
    setuptools==80.9.0

expected='allowed, no service_type: 401
allowed: 200
not allowed: 401
allowed, below a prefix: 401'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import logging

import webob
from keystoneauth1 import fixture as tokens
from keystonemiddleware import auth_token
from keystonemiddleware import fixture as middleware
from oslo_config import cfg


def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '0')])
    return [b'']


logging.disable(logging.CRITICAL)
conf = cfg.ConfigOpts()
conf([], project='nobody', default_config_files=[])


def status(service_type, method, path, prefix=''):
    options = {'oslo_config_config': conf, 'auth_type': 'none'}
    if service_type:
        options['service_type'] = service_type
    protocol = auth_token.AuthProtocol(app, options)
    request = webob.Request.blank(path, method=method)
    request.script_name = prefix
    request.headers['X-Auth-Token'] = 'a-token'
    return request.get_response(protocol).status_code


rule = {'service': 'messaging', 'method': 'GET', 'path': '/v2/**'}
token = tokens.V3Token()
token.set_project_scope()
token.add_service('messaging').add_standard_endpoints(public='http://m')
token.set_application_credential('c', access_rules=[{'id': '1', **rule}])
with middleware.AuthTokenFixture() as fake:
    fake.add_token(token, token_id='a-token')
    print('allowed, no service_type:', status('', 'GET', '/v2/queues'))
    print('allowed:', status('messaging', 'GET', '/v2/queues'))
    print('not allowed:', status('messaging', 'DELETE', '/v2/queues/q'))
    below = status('messaging', 'GET', '/v2/queues', '/messaging')
    print('allowed, below a prefix:', below)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
