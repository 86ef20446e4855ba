#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: the broker URL sqs://key:secret@host:port/path names an endpoint
# below a path, as the endpoint of an SDK of AWS may be.
#
# kombu 5.7.0 drops the path and sends everything to the root of the host.
# AWS_ENDPOINT_URL_SQS, with a broker URL that names no host, keeps it.
#
# Output:
#
#     by the broker URL: http://127.0.0.1:8888
#     by the variable: http://127.0.0.1:8888/sqs

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    'kombu[sqs]==5.7.0' boto3==1.44.8

expected='by the broker URL: http://127.0.0.1:8888
by the variable: http://127.0.0.1:8888/sqs'

seen=$("$folder/venv/bin/python" - <<'END'
import os

import kombu
from kombu.transport import SQS

# It would list the queues of the endpoint at once.
SQS.Channel._update_queue_cache = lambda *_: None


def endpoint(url):
    options = {'region': 'a-region', 'is_secure': False}
    connection = kombu.Connection(url, transport_options=options)
    return connection.channel().sqs().meta.endpoint_url


os.environ['AWS_ACCESS_KEY_ID'] = os.environ['AWS_SECRET_ACCESS_KEY'] = 'k'
print('by the broker URL:', endpoint('sqs://k:s@127.0.0.1:8888/sqs'))
os.environ['AWS_ENDPOINT_URL_SQS'] = 'http://127.0.0.1:8888/sqs'
print('by the variable:', endpoint('sqs://'))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
