#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: an UPDATE logs about what it changes: some hundred bytes for a row,
# whether a value takes the place of another one or of NULL.
#
# MariaDB 10.11.18: a row that becomes longer is moved within its page. Pages
# that were filled in order have little room, so that this happens with most
# rows, and each time most of the page is logged: nine times as much here. In
# place of a value of the same length the new one is logged alone.
#
# Needs amd64 with Debian 12, whose package it unpacks into the temporary
# folder, and the libraries that this needs (libaio1, libnuma1, liburing2).
#
# Output:
#
#     same length: less than 1000 bytes of log a row
#     instead of NULL: more than 2000 bytes of log a row

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

expected='same length: less than 1000 bytes of log a row
instead of NULL: more than 2000 bytes of log a row'

seen=$("$folder/venv/bin/python" - "$folder" 2>/dev/null <<'END'
import getpass
import socket
import subprocess
import sys
import time

import pymysql

folder = sys.argv[1]
ROWS = 1000
BODY = bytes(200)


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


def connect(port, **more):
    for _ in range(300):
        try:
            return pymysql.connect(
                host='127.0.0.1', port=port, user='root', **more
            )
        except pymysql.OperationalError:
            time.sleep(0.2)


def logged(cursor):
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'")
    return int(cursor.fetchone()[1])


def logged_by_changes(cursor, former):
    cursor.execute(
        'CREATE OR REPLACE TABLE d.t (k INT PRIMARY KEY, '
        'v VARCHAR(64) CHARACTER SET ascii, body BLOB) ENGINE=InnoDB'
    )
    for k in range(ROWS):
        cursor.execute('INSERT INTO d.t VALUES (%s, %s, %s)', (k, former, BODY))
    before = logged(cursor)
    for k in range(ROWS):
        cursor.execute('UPDATE d.t SET v = %s WHERE k = %s', ('b' * 32, k))
    return (logged(cursor) - before) // ROWS


with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
server = start(port)
try:
    cursor = connect(port, autocommit=True).cursor()
    cursor.execute('CREATE DATABASE d')
    same = logged_by_changes(cursor, 'a' * 32)
    longer = logged_by_changes(cursor, None)
    print(same, longer, file=sys.stderr)
    if same < 1000:
        print('same length: less than 1000 bytes of log a row')
    if longer > 2000:
        print('instead of NULL: more than 2000 bytes of log a row')
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
