#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a transaction that a Galera node undoes in favour of another one
# fails with error 1213, and nothing of it is committed, whether its statements
# are sent one by one or together (CLIENT_MULTI_STATEMENTS).
#
# MariaDB 10.11.19 with galera-4 26.4.23: if it is undone while a statement of
# a packet runs that does not fail by itself, such as DO, SET or a SELECT that
# has what it needs, the rest of the packet is run, in autocommit. There is no
# error, and half of the transaction is committed. Sent one by one, or within
# BEGIN NOT ATOMIC ... END, they fail as expected.
#
# Zaqar sends such nodes compound statements: messages were in two claims.
#
# Needs amd64 with Debian 12, whose packages it unpacks into the temporary
# folder, and the libraries that those need (libaio1, libnuma1, liburing2).
#
# Output:
#
#     one by one: 1213, rows: none
#     block: 1213, rows: none
#     packet: no error, rows: 2

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    PyMySQL==1.2.4
(cd "$folder" && apt-get --quiet=2 download \
    galera-4=26.4.23-0+deb12u1 \
    mariadb-server-core=1:10.11.19-0+deb12u1) >/dev/null 2>&1
for package in "$folder"/*.deb; do
    dpkg -x "$package" "$folder/debian"
done

# In another package, and without files of options there is nothing to print.
mkdir "$folder/debian/usr/extra"
ln -s /bin/true "$folder/debian/usr/extra/my_print_defaults"
"$folder/debian/usr/bin/mariadb-install-db" --no-defaults \
    --basedir="$folder/debian/usr" --datadir="$folder/data" \
    --auth-root-authentication-method=normal --skip-test-db \
    --user="$(id -un)" >/dev/null 2>&1

expected='one by one: 1213, rows: none
block: 1213, rows: none
packet: no error, rows: 2'

seen=$("$folder/venv/bin/python" - "$folder" 2>/dev/null <<'END'
import getpass
import socket
import subprocess
import sys
import threading
import time

import pymysql

folder = sys.argv[1]
STATEMENTS = (
    'BEGIN',
    'INSERT INTO test.t (id) VALUES (1)',
    'DO SLEEP(2)',
    'INSERT INTO test.t (id) VALUES (2)',
    'COMMIT',
)
BLOCK = '; '.join(('START TRANSACTION', *STATEMENTS[1:]))
WAYS = {
    'one by one': STATEMENTS,
    'block': (f'BEGIN NOT ATOMIC {BLOCK}; END',),
    'packet': ('; '.join(STATEMENTS),),
}


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def start(port, cluster):
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
        '--binlog-format=ROW',
        '--innodb-autoinc-lock-mode=2',
        '--wsrep-on=ON',
        f'--wsrep-provider={folder}/debian/usr/lib/galera/libgalera_smm.so',
        '--wsrep-new-cluster',
        '--wsrep-cluster-address=gcomm://',
        '--wsrep-node-address=127.0.0.1',
        f'--wsrep-provider-options=base_port={cluster};'
        f'gmcast.listen_addr=tcp://127.0.0.1:{cluster}',
        '--wsrep-sst-method=skip',
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def connect(port):
    return pymysql.connect(
        host='127.0.0.1',
        port=port,
        user='root',
        autocommit=None,
        client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
    )


def wait_until_ready(port):
    for _ in range(300):
        try:
            with connect(port).cursor() as cursor:
                cursor.execute('BEGIN')
            return
        except pymysql.Error:
            time.sleep(0.2)


def change(port):
    """Change the table, for which the node undoes transactions."""
    time.sleep(1)
    with connect(port).cursor() as cursor:
        cursor.execute('ALTER TABLE test.t ADD COLUMN note INT')


def run(cursor, packets):
    try:
        for packet in packets:
            cursor.execute(packet)
            while cursor.nextset():
                pass
    except pymysql.Error as error:
        return error.args[0]
    return 'no error'


port, cluster = free_port(), free_port()
server = start(port, cluster)
try:
    wait_until_ready(port)
    cursor = connect(port).cursor()
    cursor.execute('CREATE DATABASE test')
    for name, packets in WAYS.items():
        cursor.execute('CREATE OR REPLACE TABLE test.t (id INT PRIMARY KEY)')
        rival = threading.Thread(target=change, args=(port,))
        rival.start()
        result = run(connect(port).cursor(), packets)
        rival.join()
        cursor.execute('SELECT id FROM test.t')
        rows = ' '.join(str(row[0]) for row in cursor) or 'none'
        print(f'{name}: {result}, rows: {rows}')
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
