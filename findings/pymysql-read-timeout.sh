#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: with read_timeout=2 no query takes longer than about two seconds.
#
# PyMySQL 1.2.4: the limit is that of each read from the socket, not that of a
# query. An answer whose rows come one a second is read to its end, however
# long that takes; one that comes after a silence of six seconds is error 2013
# after two. The limit does not bound the time for which a caller waits. With
# MariaDB 10.11.18.
#
# Needs amd64 with Debian 12, whose package it unpacks into the temporary
# folder, and the libraries that this needs (libaio1, libnuma1, liburing2).
#
# Output:
#
#     read_timeout 2, silence of 6 s: error 2013, less than 4 s
#     read_timeout 2, a row a second: 6 rows, more than 5 s

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    PyMySQL==1.2.4
(cd "$folder" && apt-get --quiet=2 download \
    mariadb-server-core=1:10.11.18-0+deb12u1) >/dev/null 2>&1
dpkg -x "$folder"/*.deb "$folder/debian"

# In another package, and without files of options there is nothing to print.
mkdir "$folder/debian/usr/extra"
ln -s /bin/true "$folder/debian/usr/extra/my_print_defaults"
"$folder/debian/usr/bin/mariadb-install-db" --no-defaults \
    --basedir="$folder/debian/usr" --datadir="$folder/data" \
    --auth-root-authentication-method=normal --skip-test-db \
    --user="$(id -un)" >/dev/null 2>&1

expected='read_timeout 2, silence of 6 s: error 2013, less than 4 s
read_timeout 2, a row a second: 6 rows, more than 5 s'

seen=$("$folder/venv/bin/python" - "$folder" 2>/dev/null <<'END'
import getpass
import socket
import subprocess
import sys
import time

import pymysql

folder = sys.argv[1]

# A row does not fit into the server's buffer, so each is sent at once.
ROWS = (
    "SELECT SLEEP(1), REPEAT('x', 20000) FROM (SELECT 1 UNION ALL SELECT 2 "
    'UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL '
    'SELECT 6) AS six'
)


def start(port):
    command = [
        f'{folder}/debian/usr/sbin/mariadbd',
        '--no-defaults',
        f'--basedir={folder}/debian/usr',
        f'--datadir={folder}/data',
        f'--socket={folder}/socket',
        f'--pid-file={folder}/pid',
        f'--port={port}',
        f'--user={getpass.getuser()}',
        '--bind-address=127.0.0.1',
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def connect(port):
    for _ in range(300):
        try:
            return pymysql.connect(
                host='127.0.0.1', port=port, user='root', read_timeout=2
            )
        except pymysql.OperationalError:
            time.sleep(0.2)


def show(name, query):
    connection = connect(port)
    begin = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            result = f'{len(cursor.fetchall())} rows'
    except pymysql.Error as error:
        result = f'error {error.args[0]}'
    seconds = time.monotonic() - begin
    duration = 'more than 5 s' if seconds > 5 else 'less than 4 s'
    print(f'read_timeout 2, {name}: {result}, {duration}')


with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
server = start(port)
try:
    show('silence of 6 s', 'SELECT SLEEP(6)')
    show('a row a second', ROWS)
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
