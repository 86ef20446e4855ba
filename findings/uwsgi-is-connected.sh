#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: uwsgi.is_connected(uwsgi.connection_fd()) is False once the client
# of a request has closed its connection. It exists for applications that work
# for long, and would stop if nobody waits for the answer.
#
# uWSGI 2.0.30 (pyuwsgi 2.0.30.post1) and 2.0.31 with http-socket: it stays
# True, since it looks for an error of the socket only, and a connection that
# is closed in good order has none. poll() with POLLRDHUP sees it at once.
#
# Output:
#
#     poll: closed
#     is_connected: True

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pyuwsgi==2.0.30.post1

expected='poll: closed
is_connected: True'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

APP = """
import pathlib
import select
import uwsgi


def application(environ, start_response):
    connection = uwsgi.connection_fd()
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    closed = poller.poll(30_000)
    pathlib.Path('seen.part').write_text(
        f"poll: {'closed' if closed else 'open'}\\n"
        f'is_connected: {uwsgi.is_connected(connection)}'
    )
    pathlib.Path('seen.part').rename('seen')
    start_response('204 No Content', [])
    return []
"""

with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
folder = pathlib.Path(tempfile.mkdtemp())
(folder / 'app.py').write_text(APP)
program = pathlib.Path(sys.executable).with_name('uwsgi')
words = ['--http-socket', f'127.0.0.1:{port}', '--wsgi-file', 'app.py']
server = subprocess.Popen(
    [program, *words, '--need-app', '--die-on-term'],
    cwd=folder,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)


def connected():
    for _ in range(100):
        try:
            return socket.create_connection(('127.0.0.1', port), 30)
        except ConnectionError:
            time.sleep(0.1)
    raise SystemExit('the server does not start')


try:
    with connected() as client:
        client.sendall(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    seen = folder / 'seen'
    for _ in range(400):
        if seen.exists():
            print(seen.read_text())
            break
        time.sleep(0.1)
finally:
    server.terminate()
    server.wait()
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
