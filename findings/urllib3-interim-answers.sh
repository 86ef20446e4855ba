#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: urllib3, and requests on it, read past interim answers (1xx) to the
# final one, as every HTTP/1.1 client must (RFC 9110, 15.2).
#
# urllib3 2.8.0 and requests 2.34.2 on http.client of CPython 3.11 read past
# 100 alone. 102 and 103 (Early Hints, which web servers and CDNs send of
# their own accord) are returned as the answer, without a body and as a
# success; what the server answers in truth is never seen by that caller. A
# sender of webhooks takes a refusal for a delivery.
#
# Output:
#
#     100, then 503: 503, 503 ok=False
#     102, then 503: 102, 102 ok=True
#     103, then 503: 103, 103 ok=True

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    urllib3==2.8.0 \
    requests==2.34.2

expected='100, then 503: 503, 503 ok=False
102, then 503: 102, 102 ok=True
103, then 503: 103, 103 ok=True'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import socket
import threading

import requests
import urllib3

LENGTH = b'Content-Length: 0\r\nConnection: close\r\n\r\n'


def serve(listener):
    while True:
        connection, _ = listener.accept()
        asked = connection.recv(65536).split(b' ')[1].decode()
        status = asked.rpartition('/')[2].encode()
        connection.sendall(b'HTTP/1.1 %s Interim\r\n\r\n' % status)
        connection.sendall(b'HTTP/1.1 503 Service Unavailable\r\n' + LENGTH)
        connection.close()


listener = socket.create_server(('127.0.0.1', 0))
threading.Thread(target=serve, args=(listener,), daemon=True).start()
url = f'http://127.0.0.1:{listener.getsockname()[1]}'
for status in (100, 102, 103):
    plain = urllib3.PoolManager(retries=False).request('GET', f'{url}/{status}')
    fine = requests.get(f'{url}/{status}')
    print(f'{status}, then 503: {plain.status}, {fine.status_code} ok={fine.ok}')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
