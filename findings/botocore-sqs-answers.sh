#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a client of Amazon SQS that sends a message fails unless the answer
# has the id of the message, and the MD5 of what was sent.
#
# botocore 1.44.8 takes an empty answer for success, and a wrong MD5, too: a
# message that a proxy has lost counts as sent. The SDK for JavaScript compares
# the MD5.
#
# Output:
#
#     an empty answer: sent, without an id
#     a wrong MD5: sent

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    boto3==1.44.8

expected='an empty answer: sent, without an id
a wrong MD5: sent'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import http.server
import json
import threading

import boto3

ANSWERS = [b'', json.dumps({'MessageId': 'm', 'MD5OfMessageBody': 'x'}).encode()]


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        body = ANSWERS.pop(0)
        self.send_response(200)
        self.send_header('Content-Type', 'application/x-amz-json-1.0')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}'
client = boto3.client(
    'sqs',
    endpoint_url=url,
    region_name='a-region',
    aws_access_key_id='k',
    aws_secret_access_key='s',
)
for what in ('an empty answer', 'a wrong MD5'):
    answer = client.send_message(QueueUrl=f'{url}/p/q', MessageBody='m')
    without = '' if 'MessageId' in answer else ', without an id'
    print(f'{what}: sent{without}')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
