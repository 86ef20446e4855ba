#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: with enable_batching a task is sent a little later, together with
# others. shutdown() sends what has not been sent yet, and the log names the
# tasks that the service refused.
#
# taskiq-aio-sqs 2.1.1 with taskiq 0.13.0: a task that waits for the batch to
# fill, up to batch_timeout (1 s by default), is lost by shutdown(): what has
# been taken for the next batch is dropped when the sender is cancelled, and
# only what is still queued behind it is sent. A program that sends and ends
# loses its last tasks. The entries that an answer lists as Failed are not
# looked at: their tasks are neither sent again nor logged. The stub accepts
# every other entry.
#
# Output:
#
#     without batches: sent 3 of 3
#     in a batch, then shutdown: sent 0 of 3
#     in a batch, half of it failed: sent 5 of 10, 1 request, 0 warnings

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    taskiq-aio-sqs==2.1.1 taskiq==0.13.0

expected='without batches: sent 3 of 3
in a batch, then shutdown: sent 0 of 3
in a batch, half of it failed: sent 5 of 10, 1 request, 0 warnings'

seen=$("$folder/venv/bin/python" - <<'END'
import asyncio
import hashlib
import http.server
import json
import logging
import threading

ACCEPTED = []
BATCHES = []
WARNINGS = []


class Log(logging.Handler):
    emit = staticmethod(WARNINGS.append)


logging.getLogger().addHandler(Log(logging.WARNING))


def accept(body):
    ACCEPTED.append(body)
    return {
        'MessageId': f'm{len(ACCEPTED)}',
        'MD5OfMessageBody': hashlib.md5(body.encode()).hexdigest(),
    }


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        size = int(self.headers['Content-Length'])
        given = json.loads(self.rfile.read(size))
        action = self.headers['X-Amz-Target'].partition('.')[2]
        data = json.dumps(getattr(self, action)(given)).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/x-amz-json-1.0')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def GetQueueUrl(self, given):
        return {'QueueUrl': f'{url}/project/{given["QueueName"]}'}

    def SendMessage(self, given):
        return accept(given['MessageBody'])

    def SendMessageBatch(self, given):
        entries = given['Entries']
        BATCHES.append(entries)
        return {
            'Successful': [
                {'Id': entry['Id'], **accept(entry['MessageBody'])}
                for entry in entries[::2]
            ],
            'Failed': [
                {
                    'Id': entry['Id'],
                    'Code': 'InternalError',
                    'Message': 'Try again.',
                    'SenderFault': False,
                }
                for entry in entries[1::2]
            ],
        }

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}'

from taskiq_aio_sqs import SQSBroker


async def send(count, seconds=0.0, **options):
    """Send tasks, and end after a while; return how many have arrived."""
    ACCEPTED.clear()
    broker = SQSBroker(
        'jobs',
        endpoint_url=url,
        region_name='a-region',
        aws_access_key_id='k',
        aws_secret_access_key='s',
        **options,
    )

    @broker.task(task_name='add')
    async def add(number):
        pass

    await broker.startup()
    for number in range(count):
        await add.kiq(number)
    await asyncio.sleep(seconds)
    await broker.shutdown()
    return f'sent {len(ACCEPTED)} of {count}'


async def main():
    print('without batches:', await send(3))
    arrived = await send(3, 0.2, enable_batching=True)
    print('in a batch, then shutdown:', arrived)
    WARNINGS.clear()
    arrived = await send(10, 3, enable_batching=True)
    print(
        f'in a batch, half of it failed: {arrived}, {len(BATCHES)} request,',
        f'{len(WARNINGS)} warnings',
    )


asyncio.run(main())
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
