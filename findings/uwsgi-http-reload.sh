#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: SIGHUP makes uWSGI reload gracefully, as its manual says: requests
# in progress are answered, and new ones wait.
#
# uWSGI 2.0.30 (pyuwsgi 2.0.30.post1) and 2.0.31: so with http-socket. With
# the option http a router stands in front of the workers. It is killed at
# once, and the connections of all clients with it; the workers finish their
# requests for nobody.
#
# Output, for a request in progress at SIGHUP:
#
#     http-socket: HTTP/1.1 200 OK
#     http: closed without an answer

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pyuwsgi==2.0.30.post1

expected='http-socket: HTTP/1.1 200 OK
http: closed without an answer'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

APP = """
import pathlib
import time


def application(environ, start_response):
    pathlib.Path('begun').touch()
    time.sleep(2)
    start_response('200 OK', [('Content-Length', '0')])
    return []
"""


def connected(port):
    for _ in range(100):
        try:
            return socket.create_connection(('127.0.0.1', port), 30)
        except ConnectionError:
            time.sleep(0.1)
    raise SystemExit('the server does not start')


def answer(option):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / 'app.py').write_text(APP)
    program = pathlib.Path(sys.executable).with_name('uwsgi')
    server = subprocess.Popen(
        [
            *(program, f'--{option}', f'127.0.0.1:{port}'),
            *('--wsgi-file', 'app.py', '--need-app', '--die-on-term'),
            *('--master', '--lazy-apps'),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connected(port) as client:
            client.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
            while not (folder / 'begun').exists():
                time.sleep(0.05)
            server.send_signal(signal.SIGHUP)
            head = client.recv(1000).partition(b'\r\n')[0].decode()
            return head or 'closed without an answer'
    finally:
        server.terminate()
        server.wait()


for option in ('http-socket', 'http'):
    print(f'{option}: {answer(option)}')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
