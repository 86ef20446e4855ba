#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a secret that is not base64, such as one of the URL-safe alphabet
# that secrets.token_urlsafe gives, is refused by every library of Standard
# Webhooks, so that both ends learn of it at once.
#
# standardwebhooks 1.1.0 for Python leaves out the characters that it does not
# know and signs with a key that is shorter than the secret. The libraries
# standardwebhooks 1.1.1 and svix 1.99.1 of npm refuse the same secret
# ("incorrect characters for decoding"), and one that reads the URL-safe
# alphabet has another key: a sender in Python works with receivers in Python
# alone.
#
# Output:
#
#     as without - and _: True
#     as the bytes that are meant: False
#     bytes meant: 27
#     bytes of the key: 22

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    standardwebhooks==1.1.0

expected='as without - and _: True
as the bytes that are meant: False
bytes meant: 27
bytes of the key: 22'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import base64
import datetime

from standardwebhooks import Webhook

secret = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaL-_w-_-_'
moment = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)


def sign(text):
    return Webhook(text).sign('an-id', moment, '{}')


without = secret.replace('-', '').replace('_', '')
meant = base64.b64encode(base64.urlsafe_b64decode(secret)).decode()
padded = without + '=' * (-len(without) % 4)
print('as without - and _:', sign(secret) == sign(padded))
print('as the bytes that are meant:', sign(secret) == sign(meant))
print('bytes meant:', len(base64.b64decode(meant)))
print('bytes of the key:', len(base64.b64decode(padded)))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
