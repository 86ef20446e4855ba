#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: wait_time_seconds, "the wait time for long polling", is passed to
# the service: one request waits that long for a task.
#
# taskiq-aio-sqs 2.1.1 with taskiq 0.13.0: each request waits a second at most,
# and one that does not wait ends each round: a worker that is idle sends 11
# requests in 10 s, its default, instead of one. The stub waits as long as it is
# asked to, has no task, and prints for how long it was asked to wait.
#
# Output:
#
#     wait_time_seconds=3, twice: 1 1 1 0 1 1 1

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    taskiq-aio-sqs==2.1.1 taskiq==0.13.0

expected='wait_time_seconds=3, twice: 1 1 1 0 1 1 1'

seen=$("$folder/venv/bin/python" - <<'END'
import asyncio
import http.server
import json
import threading
import time

WAITS = []


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

    def ReceiveMessage(self, given):
        WAITS.append(given['WaitTimeSeconds'])
        time.sleep(given['WaitTimeSeconds'])
        return {}

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Service)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}'

from taskiq_aio_sqs import SQSBroker


async def listen(broker):
    async for _ in broker.listen():
        pass


async def main():
    broker = SQSBroker(
        'jobs',
        endpoint_url=url,
        region_name='a-region',
        aws_access_key_id='k',
        aws_secret_access_key='s',
        wait_time_seconds=3,
    )
    await broker.startup()
    worker = asyncio.create_task(listen(broker))
    while sum(WAITS) < 6:
        await asyncio.sleep(0.01)
    print('wait_time_seconds=3, twice:', *WAITS)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await broker.shutdown()


asyncio.run(main())
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
