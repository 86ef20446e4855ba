#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: Keystone allows the origins that [cors] allowed_origin names in the
# file that it is started with.
#
# The CORS middleware of keystone 30.0.0 loads a configuration of its own, from
# the default places of Keystone alone. What --config-file or --config-dir name
# is not read; /etc/keystone/keystone.conf and variables of the environment are.
#
# Output:
#
#     --config-file None
#     environment https://console.example.org

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keystone==30.0.0 \
    oslo.middleware==8.2.0 \
    setuptools==80.9.0

expected='--config-file None
environment https://console.example.org'

printf '[cors]\nallowed_origin = https://console.example.org\n' \
    >"$folder/keystone.conf"

# Nothing of this machine's Keystone is read before it.
mkdir "$folder/.keystone"
printf '[DEFAULT]\n' >"$folder/.keystone/keystone.conf"

seen=$(HOME=$folder "$folder/venv/bin/python" - "$folder/keystone.conf" \
    2>/dev/null <<'END'
import logging
import os
import sys

import flask
import keystone.conf
from keystone.server.flask import core

ORIGIN = 'https://console.example.org'


def allowed():
    app = flask.Flask('keystone')
    with app.app_context():
        core.setup_app_middleware(app)
    headers = {'Origin': ORIGIN, 'Access-Control-Request-Method': 'POST'}
    answer = app.test_client().options('/', headers=headers)
    return answer.headers.get('Access-Control-Allow-Origin')


logging.disable(logging.CRITICAL)
keystone.conf.configure()
keystone.conf.CONF(['--config-file', sys.argv[1]], project='keystone')
print('--config-file', allowed())
os.environ['OS_CORS__ALLOWED_ORIGIN'] = ORIGIN
print('environment', allowed())
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
