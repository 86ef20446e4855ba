#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a statement that was interrupted between two rows is taken from the
# cache of the connection when it is executed again, as before.
#
# Python 3.11: the statement stays in the cache and counts as being in use. For
# each further execution another one is prepared, which takes several times as
# long as a short query, until the connection is closed. SQLite asks the
# authorizer while it prepares a statement, and never when it executes one.
#
# Output:
#
#     executed again: prepared 0 times
#     executed three times after an interruption: prepared 3 times

set -euo pipefail

expected='executed again: prepared 0 times
executed three times after an interruption: prepared 3 times'

seen=$(python3.11 - <<'END'
import sqlite3

interrupts = False
prepared = 0


def authorize(action, *_):
    global prepared
    prepared += action == sqlite3.SQLITE_SELECT
    return sqlite3.SQLITE_OK


def query():
    return connection.execute('SELECT a FROM t').fetchall()


connection = sqlite3.connect(':memory:', isolation_level=None)
connection.execute('CREATE TABLE t (a)')
connection.executemany('INSERT INTO t VALUES (?)', [(n,) for n in range(100)])
connection.set_authorizer(authorize)
connection.set_progress_handler(lambda: interrupts, 100)
query()
prepared = 0
query()
print(f'executed again: prepared {prepared} times')
interrupts = True
try:
    query()
except sqlite3.OperationalError:
    interrupts = False
prepared = 0
for _ in range(3):
    query()
print(
    f'executed three times after an interruption: prepared {prepared} times'
)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
