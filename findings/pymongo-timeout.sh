#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: inside of "with pymongo.timeout(seconds)" a call ends after these
# seconds, whether or not there is a server.
#
# pymongo 4.20.1: a call that waits for a server waits half a second at least,
# which is the shortest interval between two checks of servers, and looks at
# the time only then. The same holds for serverSelectionTimeoutMS. A caller
# with 0.05 s left gets ten times that.
#
# Output:
#
#     timeout(0.05): ServerSelectionTimeoutError, 0.5 s
#     timeout(0.7): ServerSelectionTimeoutError, 1.0 s
#     serverSelectionTimeoutMS=50: ServerSelectionTimeoutError, 0.5 s

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pymongo==4.20.1

expected='timeout(0.05): ServerSelectionTimeoutError, 0.5 s
timeout(0.7): ServerSelectionTimeoutError, 1.0 s
serverSelectionTimeoutMS=50: ServerSelectionTimeoutError, 0.5 s'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import contextlib
import socket
import time

import pymongo

# Nobody listens there.
port = socket.socket()
port.bind(('127.0.0.1', 0))


def show(name, limit=contextlib.nullcontext, **options):
    client = pymongo.MongoClient('127.0.0.1', port.getsockname()[1], **options)
    begin = time.monotonic()
    try:
        with limit():
            client.admin.command('ping')
    except pymongo.errors.PyMongoError as error:
        # Rounded down to halves, since a busy machine adds to it.
        seconds = int((time.monotonic() - begin) * 2) / 2
        print(f'{name}: {type(error).__name__}, {seconds} s')
    client.close()


show('timeout(0.05)', lambda: pymongo.timeout(0.05))
show('timeout(0.7)', lambda: pymongo.timeout(0.7))
show('serverSelectionTimeoutMS=50', serverSelectionTimeoutMS=50)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
