#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A webhook that confirms its subscription and prints what it is sent.

    python3 receiver.py [--port 5678] [--service http://127.0.0.1:8888]
                        [--secret whsec_...]

Needs nothing but Python. A notice of confirmation is answered by the request
that it describes. With ``--secret`` messages without a good signature (in the
format of Standard Webhooks) are refused.
"""

import argparse
import base64
import hashlib
import hmac
import http.server
import json
import time
import urllib.parse
import urllib.request
import uuid

#: Seconds that a signature may be old.
TOLERANCE = 300

CLIENT_ID = str(uuid.uuid4())


def confirm(notice: dict, service: str) -> int:
    """Say yes to a subscription; return the status of the answer."""
    url = notice.get('WSGISubscribeURL') or urllib.parse.urljoin(
        service, notice['URL-Paths']
    )
    request = urllib.request.Request(
        url,
        data=json.dumps(notice['SubscribeBody']).encode(),
        method=notice['URL-Methods'],
        headers={
            'Client-ID': CLIENT_ID,
            'Content-Type': 'application/json',
            'X-Project-ID': notice['X-Project-ID'],
            'URL-Expires': notice['URL-Expires'],
            'URL-Methods': notice['URL-Methods'],
            'URL-Paths': notice['URL-Paths'],
            'URL-Signature': notice['URL-Signature'],
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status


def is_ours(headers, body: bytes, secret: str) -> bool:
    """Tell whether the service has signed a message."""
    moment = headers.get('webhook-timestamp', '0')
    if not moment.isdigit() or abs(time.time() - int(moment)) > TOLERANCE:
        return False
    key = base64.b64decode(secret.removeprefix('whsec_'))
    said = f'{headers.get("webhook-id")}.{moment}.'.encode() + body
    good = base64.b64encode(hmac.digest(key, said, hashlib.sha256)).decode()
    return any(
        hmac.compare_digest(good, given.partition(',')[2])
        for given in headers.get('webhook-signature', '').split()
    )


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes messages."""

    service = ''
    secret = ''

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if self.secret and not is_ours(self.headers, body, self.secret):
            self.send_error(401)
            return
        document = json.loads(body)
        if document.get('Message_Type') == 'SubscriptionConfirmation':
            print('confirmed:', confirm(document, self.service), flush=True)
        else:
            print('message:', json.dumps(document.get('body')), flush=True)
        # Soon, or the service takes it for a failure.
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args) -> None:
        """Leave the terminal to the messages."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description='Print messages pushed here.')
    parser.add_argument('--port', type=int, default=5678)
    parser.add_argument('--service', default='http://127.0.0.1:8888')
    parser.add_argument('--secret', default='')
    given = parser.parse_args()
    Receiver.service, Receiver.secret = given.service, given.secret
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', given.port), Receiver
    )
    print(f'listening on http://127.0.0.1:{server.server_port}', flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
