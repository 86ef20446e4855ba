#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a WSGI server hands on a header value byte by byte (PEP 3333: as
# Latin-1), so that an application can decode UTF-8 from it, as under other
# servers.
#
# granian 2.8.9 with the interface wsgi hands on an empty string if the value
# of a header holds a byte beyond ASCII. The name is there, the value is gone,
# and the application cannot tell it from an empty header.
#
# Output:
#
#     3 bytes sent, 3 received
#     4 bytes sent, 0 received

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    granian==2.8.9

expected='3 bytes sent, 3 received
4 bytes sent, 0 received'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import http.client
import multiprocessing
import socket
import sys
import time

from granian import Granian

with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]


def app(environ, start_response):
    start_response('200 OK', [])
    return [environ['HTTP_X_PROJECT'].encode()]


def serve():
    target = 'app:application'
    server = Granian(target, port=port, interface='wsgi', log_enabled=False)
    server.serve(target_loader=lambda *_, **__: app)


if __name__ == '__main__':
    process = multiprocessing.get_context('fork').Process(target=serve)
    process.start()
    try:
        for value in (b'Zoe', 'Zoë'.encode()):
            for _ in range(100):
                try:
                    asked = http.client.HTTPConnection('127.0.0.1', port)
                    asked.request('GET', '/', headers={'X-Project': value})
                    break
                except ConnectionError:
                    time.sleep(0.1)
            got = asked.getresponse().read().decode('latin-1')
            print(f'{len(value)} bytes sent, {len(got)} received')
    finally:
        process.terminate()
        process.join(10)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
