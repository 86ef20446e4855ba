#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: what a WSGI application finds in its environ under HTTP_* comes
# from the request, and variables of the process stay in os.environ.
#
# granian 2.8.9 with the interface wsgi copies the whole environment of the
# process into the environ of every request. A variable of the process whose
# name begins with HTTP_ cannot be distinguished from a header, and a page that
# shows the environ for diagnosis shows the variables of the deployment.
#
# Output:
#
#     HTTP_X_REGION=of-the-process
#     DEPLOYMENT_NAME=blue

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    granian==2.8.9

expected='HTTP_X_REGION=of-the-process
DEPLOYMENT_NAME=blue'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import http.client
import multiprocessing
import os
import socket
import time

from granian import Granian

with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]


def app(environ, start_response):
    start_response('200 OK', [])
    names = ('HTTP_X_REGION', 'DEPLOYMENT_NAME')
    lines = [f'{name}={environ.get(name)}' for name in names]
    return ['\n'.join(lines).encode()]


def serve():
    os.environ['HTTP_X_REGION'] = 'of-the-process'
    os.environ['DEPLOYMENT_NAME'] = 'blue'
    target = 'app:application'
    server = Granian(target, port=port, interface='wsgi', log_enabled=False)
    server.serve(target_loader=lambda *_, **__: app)


if __name__ == '__main__':
    process = multiprocessing.get_context('fork').Process(target=serve)
    process.start()
    try:
        for _ in range(100):
            try:
                asked = http.client.HTTPConnection('127.0.0.1', port)
                asked.request('GET', '/')
                break
            except ConnectionError:
                time.sleep(0.1)
        print(asked.getresponse().read().decode())
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
