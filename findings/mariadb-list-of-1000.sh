#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: q IN (...) with a thousand values is planned as it is with 999.
#
# MariaDB 10.11.18: from 1,000 values on (in_predicate_conversion_threshold) the
# list becomes a derived table that is joined. Ranges of an index that begins
# with the column are no longer used then, nor its loose scan for MIN and GROUP
# BY: all entries of each value are read, even with FORCE INDEX. Two shorter
# lists keep the plan. EXPLAIN shows MATERIALIZED and DERIVED.
#
# Needs amd64 with Debian 12, whose package it unpacks into the temporary
# folder, and the libraries that this needs (libaio1, libnuma1, liburing2).
#
# Output: entries read for the first w of each q beyond 5, of 100,000 entries.
#
#     999 values: below 10000
#     1000 values: 100000 or more
#     1000 values in two lists: below 10000

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

expected='999 values: below 10000
1000 values: 100000 or more
1000 values in two lists: below 10000'

seen=$("$folder/venv/bin/python" - "$folder" 2>/dev/null <<'END'
import getpass
import socket
import subprocess
import sys
import time

import pymysql

folder = sys.argv[1]
ROWS = 'FROM t FORCE INDEX (q) WHERE q IN ({}) AND w > 5 GROUP BY q'


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
                host='127.0.0.1', port=port, user='root', autocommit=True
            )
        except pymysql.OperationalError:
            time.sleep(0.2)


def entries(cursor, *lists):
    """Return how many entries queries read for these values."""
    cursor.execute('FLUSH STATUS')
    for values in lists:
        text = ', '.join(map(str, values))
        cursor.execute(f'SELECT q, MIN(w) {ROWS.format(text)}')
    cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
    count = sum(int(row[1]) for row in cursor.fetchall())
    if count < 10000:
        return 'below 10000'
    return '100000 or more' if count >= 100000 else count


with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
server = start(port)
try:
    cursor = connect(port).cursor()
    cursor.execute('CREATE DATABASE d')
    cursor.execute('USE d')
    cursor.execute(
        'CREATE TABLE t (q INT, w INT, INDEX q (q, w)) ENGINE=InnoDB'
    )
    # A hundred for each of a thousand.
    cursor.execute(
        'INSERT INTO t SELECT a.seq, b.seq FROM seq_1_to_1000 a '
        'JOIN seq_1_to_100 b'
    )
    cursor.execute('ANALYZE TABLE t')
    cursor.fetchall()
    first, last = range(1, 501), range(501, 1001)
    print('999 values:', entries(cursor, range(1, 1000)))
    print('1000 values:', entries(cursor, range(1, 1001)))
    print('1000 values in two lists:', entries(cursor, first, last))
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
