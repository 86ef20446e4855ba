#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: redis-py sends what it has to say at the start of a connection in
# one go: there are no answers that it needs to go on.
#
# redis-py 8.1.0: each of four commands waits for the answer to the one before
# it. The first command of a connection with a password and a database goes
# out in the fifth round trip; two of the others tell the server the name and
# version of the library. Between two sites 20 ms apart a new connection costs
# 80 ms. driver_info=None leaves out the two. The answers come from a stub
# that counts, and says OK to everything.
#
# Output:
#
#     trip 1: AUTH pass
#     trip 2: CLIENT SETINFO LIB-NAME
#     trip 3: CLIENT SETINFO LIB-VER
#     trip 4: SELECT 1
#     trip 5: SET key value

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    redis==8.1.0

expected='trip 1: AUTH pass
trip 2: CLIENT SETINFO LIB-NAME
trip 3: CLIENT SETINFO LIB-VER
trip 4: SELECT 1
trip 5: SET key value'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import socket
import threading

import redis


def serve(listener):
    connection, _ = listener.accept()
    trip = 0
    while data := connection.recv(65536):
        trip += 1
        words = data.split(b'\r\n')[2::2]
        print(f'trip {trip}:', b' '.join(words[:3]).decode())
        connection.sendall(b'+OK\r\n')


listener = socket.create_server(('127.0.0.1', 0))
thread = threading.Thread(target=serve, args=(listener,))
thread.start()
port = listener.getsockname()[1]
client = redis.Redis(port=port, password='pass', db=1, protocol=2)
client.execute_command('SET', 'key', 'value')
client.close()
thread.join()
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
