#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: SET @x = (SELECT ...) reads as SELECT does, without locks: it only
# keeps the value for a later statement.
#
# MariaDB 10.11.18: it takes shared locks of the rows that it reads, at READ
# COMMITTED, too. It waits for a transaction that has changed the row, here
# until error 1205, and keeps others from changing it until its own transaction
# ends. SELECT ... INTO @x does the same as far as variables go, and takes no
# lock.
#
# Needs amd64 with Debian 12, whose package it unpacks into the temporary
# folder, and the libraries that this needs (libaio1, libnuma1, liburing2).
#
# Output:
#
#     REPEATABLE READ: SELECT v FROM t: answered
#     REPEATABLE READ: SELECT v FROM t INTO @x: answered
#     REPEATABLE READ: SET @x = (SELECT v FROM t): 1205
#     READ COMMITTED: SELECT v FROM t: answered
#     READ COMMITTED: SELECT v FROM t INTO @x: answered
#     READ COMMITTED: SET @x = (SELECT v FROM t): 1205

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

expected='REPEATABLE READ: SELECT v FROM t: answered
REPEATABLE READ: SELECT v FROM t INTO @x: answered
REPEATABLE READ: SET @x = (SELECT v FROM t): 1205
READ COMMITTED: SELECT v FROM t: answered
READ COMMITTED: SELECT v FROM t INTO @x: answered
READ COMMITTED: SET @x = (SELECT v FROM t): 1205'

seen=$("$folder/venv/bin/python" - "$folder" 2>/dev/null <<'END'
import getpass
import socket
import subprocess
import sys
import time

import pymysql

folder = sys.argv[1]
QUERIES = (
    'SELECT v FROM t',
    'SELECT v FROM t INTO @x',
    'SET @x = (SELECT v FROM t)',
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
        '--innodb-lock-wait-timeout=1',
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


def run(connection, statement):
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        return 'answered'
    except pymysql.Error as error:
        return error.args[0]


with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
server = start(port)
try:
    writer = connect(port)
    run(writer, 'CREATE DATABASE d')
    run(writer, 'CREATE TABLE d.t (k INT PRIMARY KEY, v INT) ENGINE=InnoDB')
    run(writer, 'INSERT INTO d.t VALUES (1, 1)')
    writer.commit()
    run(writer, 'UPDATE d.t SET v = 2')
    for level in ('REPEATABLE READ', 'READ COMMITTED'):
        for query in QUERIES:
            reader = connect(port, database='d')
            run(reader, f'SET SESSION TRANSACTION ISOLATION LEVEL {level}')
            print(f'{level}: {query}: {run(reader, query)}')
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
