#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a layer that only adds a header of its own, such as the request id,
# passes the other headers of an answer on as they are.
#
# oslo.middleware 8.2.0 and keystonemiddleware 13.0.1 on WebOb 1.8.11: each
# layer replaces a relative Location by an absolute one, made from the Host of
# the request. Behind a proxy that terminates TLS the client is sent to http.
# RFC 9110 allows relative ones, and clients that take the last part of the
# header as an id, or compare it with an href in the body, see another value
# as soon as one layer is switched on. It is WebOb that does it, when a
# response is called.
#
# Output:
#
#     none /v2/queues/jobs
#     RequestId http://127.0.0.1/v2/queues/jobs
#     CORS http://127.0.0.1/v2/queues/jobs
#     AuthProtocol http://127.0.0.1/v2/queues/jobs

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    oslo.middleware==8.2.0 \
    keystonemiddleware==13.0.1 \
    WebOb==1.8.11 \
    setuptools==80.9.0

expected='none /v2/queues/jobs
RequestId http://127.0.0.1/v2/queues/jobs
CORS http://127.0.0.1/v2/queues/jobs
AuthProtocol http://127.0.0.1/v2/queues/jobs'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
from oslo_config import cfg
from oslo_middleware import cors, request_id
from keystonemiddleware import auth_token
from wsgiref.util import setup_testing_defaults

conf = cfg.ConfigOpts()
conf([], project='nobody', default_config_files=[])


def app(environ, start_response):
    headers = [('Location', '/v2/queues/jobs'), ('Content-Length', '0')]
    start_response('201 Created', headers)
    return [b'']


def location(layer):
    environ, headers = {}, {}
    setup_testing_defaults(environ)
    list(layer(environ, lambda status, found, *_: headers.update(found)))
    return headers['Location']


options = {'delay_auth_decision': True, 'oslo_config_config': conf}
print('none', location(app))
print('RequestId', location(request_id.RequestId(app)))
print('CORS', location(cors.CORS(app, conf)))
print('AuthProtocol', location(auth_token.AuthProtocol(app, options)))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
