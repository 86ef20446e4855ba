#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a node of a Galera cluster that refuses queries refuses SELECT 1,
# too, so that a load balancer or a connection pool that checks this skips it.
#
# MariaDB 10.11.18 with galera-4 26.4.23: where wsrep_reject_queries is ALL,
# SELECT 1 and what else names no table is answered; what names a table, and
# BEGIN, is error 1047 ("WSREP has not yet prepared node for application
# use"). The message is that of a node without quorum. wsrep_ready, which
# checks of Galera nodes look at, stays ON.
#
# Needs amd64 with Debian 12, whose packages it unpacks into the temporary
# folder, and the libraries that those need (libaio1, libnuma1, liburing2).
#
# Output:
#
#     NONE: SELECT 1: answered
#     NONE: SELECT NOW(): answered
#     NONE: SELECT COUNT(*) FROM mysql.user: answered
#     NONE: BEGIN: answered
#     ALL: SELECT 1: answered
#     ALL: SELECT NOW(): answered
#     ALL: SELECT COUNT(*) FROM mysql.user: 1047
#     ALL: BEGIN: 1047
#     ALL: wsrep_ready ON

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    PyMySQL==1.2.4
(cd "$folder" && apt-get --quiet=2 download \
    galera-4=26.4.23-0+deb12u1 \
    mariadb-server-core=1:10.11.18-0+deb12u1) >/dev/null 2>&1
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

expected='NONE: SELECT 1: answered
NONE: SELECT NOW(): answered
NONE: SELECT COUNT(*) FROM mysql.user: answered
NONE: BEGIN: answered
ALL: SELECT 1: answered
ALL: SELECT NOW(): answered
ALL: SELECT COUNT(*) FROM mysql.user: 1047
ALL: BEGIN: 1047
ALL: wsrep_ready ON'

seen=$("$folder/venv/bin/python" - "$folder" 2>/dev/null <<'END'
import getpass
import socket
import subprocess
import sys
import time

import pymysql

folder = sys.argv[1]
QUERIES = (
    'SELECT 1',
    'SELECT NOW()',
    'SELECT COUNT(*) FROM mysql.user',
    'BEGIN',
)


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


def ask(connection, query):
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()
    except pymysql.Error as error:
        return error


def connect(port):
    return pymysql.connect(
        host='127.0.0.1', port=port, user='root', autocommit=None
    )


port, cluster = free_port(), free_port()
server = start(port, cluster)
try:
    for _ in range(300):
        try:
            if not isinstance(ask(connect(port), 'BEGIN'), Exception):
                break
        except pymysql.OperationalError:
            pass
        time.sleep(0.2)
    for value in ('NONE', 'ALL'):
        connection = connect(port)
        ask(connection, f'SET GLOBAL wsrep_reject_queries = {value}')
        for query in QUERIES:
            answer = ask(connection, query)
            failed = isinstance(answer, Exception)
            result = answer.args[0] if failed else 'answered'
            print(f'{value}: {query}: {result}')
    ready = ask(connection, "SHOW STATUS LIKE 'wsrep_ready'")
    print('ALL:', *ready)
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
