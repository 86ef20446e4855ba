#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a receipt handle is any text. A client that puts something in front
# of it, and takes that off again, passes on what the service gave.
#
# amazon-sqs-extended-client 1.0.1 with boto3 1.44.8: with a message whose body
# is in S3 it passes on what follows the last hyphen of the handle. A service
# whose handles have hyphens, such as UUIDs, gets a part of one by
# DeleteMessage and ChangeMessageVisibility, so that the message comes again.
# Handles without hyphens, such as those of AWS, are complete. The services for
# queues and objects are one stub.
#
# Output:
#
#     in the queue:
#         received: 6f1c1f0e-0d5b-4c65-9a1e-2f6f3f0c7a11
#         deleted: 6f1c1f0e-0d5b-4c65-9a1e-2f6f3f0c7a11
#     in S3:
#         received: 6f1c1f0e-0d5b-4c65-9a1e-2f6f3f0c7a11
#         deleted: 2f6f3f0c7a11
#     in S3:
#         received: 6f1c1f0e.1.2f6f3f0c7a11
#         deleted: 6f1c1f0e.1.2f6f3f0c7a11

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    amazon-sqs-extended-client==1.0.1 boto3==1.44.8

expected='in the queue:
    received: 6f1c1f0e-0d5b-4c65-9a1e-2f6f3f0c7a11
    deleted: 6f1c1f0e-0d5b-4c65-9a1e-2f6f3f0c7a11
in S3:
    received: 6f1c1f0e-0d5b-4c65-9a1e-2f6f3f0c7a11
    deleted: 2f6f3f0c7a11
in S3:
    received: 6f1c1f0e.1.2f6f3f0c7a11
    deleted: 6f1c1f0e.1.2f6f3f0c7a11'

seen=$("$folder/venv/bin/python" - <<'END'
import hashlib
import http.server
import json
import threading

QUEUE = []
DELETED = []
OBJECTS = {}


class Service(http.server.BaseHTTPRequestHandler):
    """Queues by POST, objects by PUT and GET."""

    protocol_version = 'HTTP/1.1'

    def answer(self, data=b'', content='application/octet-stream'):
        self.send_response(200)
        self.send_header('Content-Type', content)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get('Content-Length') or 0))

    def do_PUT(self):
        OBJECTS[self.path] = self.body()
        self.answer()

    def do_GET(self):
        self.answer(OBJECTS[self.path])

    def do_POST(self):
        given = json.loads(self.body())
        action = self.headers['X-Amz-Target'].partition('.')[2]
        document = getattr(self, action)(given)
        self.answer(
            json.dumps(document).encode(), 'application/x-amz-json-1.0'
        )

    def SendMessage(self, given):
        body = given['MessageBody']
        digest = hashlib.md5(body.encode()).hexdigest()
        QUEUE.append(
            {
                'MessageId': 'm',
                'ReceiptHandle': handle,
                'Body': body,
                'MD5OfBody': digest,
                'MessageAttributes': given.get('MessageAttributes', {}),
            }
        )
        return {'MessageId': 'm', 'MD5OfMessageBody': digest}

    def ReceiveMessage(self, _):
        return {'Messages': [QUEUE.pop()]}

    def DeleteMessage(self, given):
        DELETED.append(given['ReceiptHandle'])
        return {}

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}'

import boto3
import sqs_extended_client

options = {
    'endpoint_url': url,
    'region_name': 'a-region',
    'aws_access_key_id': 'k',
    'aws_secret_access_key': 's',
}
sqs = boto3.client('sqs', **options)
sqs.s3_client = boto3.client('s3', **options)
sqs.large_payload_support = 'bucket'
queue = f'{url}/project/queue'
hyphens = '6f1c1f0e-0d5b-4c65-9a1e-2f6f3f0c7a11'
for where, size, handle in (
    ('in the queue', 1, hyphens),
    ('in S3', 300_000, hyphens),
    ('in S3', 300_000, '6f1c1f0e.1.2f6f3f0c7a11'),
):
    body = size * 'x'
    sqs.send_message(QueueUrl=queue, MessageBody=body)
    message = sqs.receive_message(QueueUrl=queue)['Messages'][0]
    assert message['Body'] == body
    sqs.delete_message(
        QueueUrl=queue, ReceiptHandle=message['ReceiptHandle']
    )
    print(f'{where}:')
    print('    received:', handle)
    print('    deleted:', DELETED[-1])
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
