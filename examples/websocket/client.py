#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Subscribe over a WebSocket, post a message, and wait for its push.

    pip install websocket-client
    python3 client.py ws://127.0.0.1:9000 demo my-queue

Without Keystone. With it, send ``authenticate`` with ``X-Auth-Token`` in the
headers first.
"""

import json
import sys
import uuid

import websocket


def main(url: str, project: str, queue: str) -> None:
    """Run the example."""
    headers = {'Client-ID': str(uuid.uuid4()), 'X-Project-ID': project}
    connection = websocket.create_connection(url, timeout=30)

    def ask(action: str, **body) -> dict:
        frame = {'action': action, 'headers': headers, 'body': body}
        connection.send(json.dumps(frame))
        while True:
            answer = json.loads(connection.recv())
            if 'request' in answer:
                return answer
            # A push may come before the answer.
            print('pushed:', json.dumps(answer['body']), flush=True)

    subscribed = ask('subscription_create', queue_name=queue, ttl=300)
    print('subscribed:', subscribed['headers']['status'], flush=True)
    posted = ask(
        'message_post',
        queue_name=queue,
        messages=[{'ttl': 60, 'body': 'hello from Python'}],
    )
    print('posted:', posted['headers']['status'], flush=True)
    push = json.loads(connection.recv())
    print('pushed:', json.dumps(push['body']), flush=True)
    connection.close()


if __name__ == '__main__':
    main(*sys.argv[1:])
