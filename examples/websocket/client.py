#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A worker: wait for messages of a queue over a WebSocket.

It prints each message and deletes it. With a text, it posts that first.

    pip install websocket-client
    python3 client.py ws://127.0.0.1:9000 demo my-queue hello

Without Keystone. With it, call ``authenticate`` with ``X-Auth-Token`` in the
headers first.
"""

import contextlib
import json
import sys
import time
import uuid

import websocket

CLIENT = str(uuid.uuid4())

#: Seconds that a claim waits for messages.
WAIT = 60


class Connection:
    """A connection that has one request under way at a time."""

    def __init__(self, url: str, project: str) -> None:
        self._socket = websocket.create_connection(url, timeout=WAIT + 30)
        self._project = project

    def call(self, action: str, **body) -> dict:
        """Send a request; return what its answer holds."""
        headers = {
            'Client-ID': CLIENT,
            'X-Project-ID': self._project,
            'OpenStack-API-Version': 'messaging 2.1',
            # Who sends other requests while one waits needs it to tell the
            # answers apart; the service wants it for every wait.
            'request_id': str(uuid.uuid4()),
        }
        frame = {'action': action, 'headers': headers, 'body': body}
        self._socket.send(json.dumps(frame))
        text = self._socket.recv()
        if not text:
            raise ConnectionError('closed by the service')
        answer = json.loads(text)
        status = answer['headers']['status']
        if status >= 500:
            raise ConnectionError(answer['body'])
        if status >= 400:
            raise ValueError(answer['body'])
        return answer['body']


def work(connection: Connection, queue: str) -> None:
    """Process messages as soon as they come."""
    while True:
        claim = connection.call('claim_create', queue_name=queue, wait=WAIT)
        for message in claim.get('messages', []):
            print('received:', json.dumps(message['body']), flush=True)
            connection.call(
                'message_delete',
                queue_name=queue,
                message_id=message['id'],
                claim_id=claim['claim_id'],
            )


def main(url: str, project: str, queue: str, *texts: str) -> None:
    """Post the texts, and work; connect again when the connection ends."""
    messages = [{'body': text} for text in texts]
    while True:
        try:
            connection = Connection(url, project)
            if messages:
                connection.call(
                    'message_post', queue_name=queue, messages=messages
                )
                messages = []
            work(connection, queue)
        except (OSError, websocket.WebSocketException) as error:
            # What was claimed is free again when the claim ends.
            print(f'{error}; connecting again in 2 s', file=sys.stderr)
            time.sleep(2)


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
