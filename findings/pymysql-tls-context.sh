#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a connection without TLS options costs about a millisecond of CPU,
# as with earlier versions, and what TLS needs is prepared once for all.
#
# PyMySQL 1.2.4: each connection without TLS options makes a context of its
# own, in case the server has TLS, and loads all certificates of the system
# into it, although it then verifies none: 20 to 60 ms of CPU, in which no
# other thread runs. ssl_disabled=True prevents it, and 1.1.3 does not do it.
# No server is needed to see it.
#
# Output:
#
#     1.1.3: 3 connections, certificates loaded 0 times
#     1.2.4: 3 connections, certificates loaded 3 times
#     1.2.4 with ssl_disabled: 3 connections, certificates loaded 0 times

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"

# connect VERSION ARGUMENT...: make three connections, and count.
function connect {
    local version=$1
    shift
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
        "PyMySQL==$version"
    "$folder/venv/bin/python" - "$version" "$@" <<'END_PYTHON'
import ssl
import sys

import pymysql

loaded = []
create = ssl.create_default_context


def counted(*args, **options):
    loaded.append(1)
    return create(*args, **options)


ssl.create_default_context = counted
version, *names = sys.argv[1:]
for _ in range(3):
    pymysql.connect(defer_connect=True, **dict.fromkeys(names, True))
how = ' '.join([version, *(f'with {name}' for name in names)])
print(f'{how}: 3 connections, certificates loaded {len(loaded)} times')
END_PYTHON
}

expected="1.1.3: 3 connections, certificates loaded 0 times
1.2.4: 3 connections, certificates loaded 3 times
1.2.4 with ssl_disabled: 3 connections, certificates loaded 0 times"

seen=$(connect 1.1.3 && connect 1.2.4 && connect 1.2.4 ssl_disabled)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
