#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A webhook that confirms its subscription and prints each notification.

    python3 receiver.py [--port 5678] [--service http://127.0.0.1:8888]
                        [--secret whsec_...]

Needs Python only. To confirm, it sends the request that the confirmation
notice describes. With ``--secret``, messages without a valid signature (in the
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

#: Maximum age of a signature, in seconds.
TOLERANCE = 300

CLIENT_ID = str(uuid.uuid4())


def confirm(notice: dict, service: str) -> int:
    """Confirm the subscription; return the status of the answer."""
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


def is_signed(headers, body: bytes, secret: str) -> bool:
    """Return whether the service has signed a message."""
    timestamp = headers.get('webhook-timestamp', '0')
    if (
        not timestamp.isdigit()
        or abs(time.time() - int(timestamp)) > TOLERANCE
    ):
        return False
    key = base64.b64decode(secret.removeprefix('whsec_'))
    content = f'{headers.get("webhook-id")}.{timestamp}.'.encode() + body
    digest = hmac.digest(key, content, hashlib.sha256)
    expected = base64.b64encode(digest).decode()
    return any(
        hmac.compare_digest(expected, signature.partition(',')[2])
        for signature in headers.get('webhook-signature', '').split()
    )


class Receiver(http.server.BaseHTTPRequestHandler):
    """Receives notifications and confirmation notices."""

    service = ''
    secret = ''

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if self.secret and not is_signed(self.headers, body, self.secret):
            self.send_error(401)
            return
        document = json.loads(body)
        if document.get('Message_Type') == 'SubscriptionConfirmation':
            print('confirmed:', confirm(document, self.service), flush=True)
        else:
            print('message:', json.dumps(document.get('body')), flush=True)
        # Answer within the time limit, or the service retries.
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args) -> None:
        """Log no requests: print only the messages."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description='Print messages pushed here.')
    parser.add_argument('--port', type=int, default=5678)
    parser.add_argument('--service', default='http://127.0.0.1:8888')
    parser.add_argument('--secret', default='')
    args = parser.parse_args()
    Receiver.service, Receiver.secret = args.service, args.secret
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', args.port), Receiver
    )
    print(f'listening on http://127.0.0.1:{server.server_port}', flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
