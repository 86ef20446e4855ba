#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: wsgi.input of a WSGI server has the body of the request, however it
# was framed: a chunked one of unknown length ends where the last chunk says
# so.
#
# uWSGI 2.0.30 (pyuwsgi 2.0.30.post1) with http-socket: wsgi.input is empty if
# the body is chunked, the length is not given, and the application answers as
# to a request without a body. The body is only available through a function of
# the server, uwsgi.chunked_read. Clients that stream, such as curl -T - and
# Node with a stream, are affected. An application that takes an empty body for
# "nothing to set" answers with success and loses the body.
#
# Output:
#
#     of known length: 10 bytes sent, 10
#     chunked: 10 bytes sent, 0

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pyuwsgi==2.0.30.post1

expected='of known length: 10 bytes sent, 10
chunked: 10 bytes sent, 0'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import http.client
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

APP = """
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [str(len(body)).encode()]
"""

with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
folder = tempfile.mkdtemp()
pathlib.Path(folder, 'app.py').write_text(APP)
program = pathlib.Path(sys.executable).with_name('uwsgi')
words = ['--http-socket', f'127.0.0.1:{port}', '--wsgi-file', 'app.py']
server = subprocess.Popen(
    [program, *words, '--need-app', '--die-on-term'],
    cwd=folder,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)


def received(body, **more):
    for _ in range(100):
        try:
            asked = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
            asked.request('POST', '/', body, **more)
            return asked.getresponse().read().decode()
        except ConnectionError:
            time.sleep(0.1)


try:
    print('of known length: 10 bytes sent,', received(b'0123456789'))
    body = iter([b'01234', b'56789'])
    print('chunked: 10 bytes sent,', received(body, encode_chunked=True))
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
