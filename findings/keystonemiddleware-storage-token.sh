#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a service behind auth_token reads tokens from X-Auth-Token, and
# from X-Service-Token for services.
#
# keystonemiddleware 13.0.1 takes a third header, X-Storage-Token, for the
# token of a user where X-Auth-Token is missing, in every service and not in
# Swift alone. What masks tokens in logs and traces should know that name,
# too.
#
# Output:
#
#     X-Auth-Token 200
#     X-Storage-Token 200
#     X-Other-Token 401

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keystonemiddleware==13.0.1 \
    WebOb==1.8.11 \
    fixtures==4.3.2 \
    setuptools==80.9.0

expected='X-Auth-Token 200
X-Storage-Token 200
X-Other-Token 401'

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

options = {'oslo_config_config': conf, 'auth_type': 'none'}
protocol = auth_token.AuthProtocol(app, options)
token = tokens.V3Token()
token.set_project_scope()
with middleware.AuthTokenFixture() as fake:
    fake.add_token(token, token_id='a-token')
    for name in ('X-Auth-Token', 'X-Storage-Token', 'X-Other-Token'):
        request = webob.Request.blank('/', headers={name: 'a-token'})
        print(name, request.get_response(protocol).status_code)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
