#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: what is written to a transport in one round of the loop is sent
# together, for which uvloop has a queue of streams ("_queue_write").
#
# uvloop 0.23.0 sends each part at once while nothing waits to be sent: one
# system call for each. Several commands to one server wake it several times.
# Whoever wants them in one packet has to gather them, and to send them in a
# function that "call_soon" calls at the end of the round.
#
# Output: what the other end receives after two parts, before the round ends.
#
#     at once: b'ab'

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0

expected="at once: b'ab'"

seen=$("$folder/venv/bin/python" - <<'END'
import asyncio
import socket

import uvloop


async def main():
    own, other = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=own)
    transport.write(b'a')
    transport.write(b'b')
    try:
        print('at once:', other.recv(9, socket.MSG_DONTWAIT))
    except BlockingIOError:
        print('at once: nothing')
    transport.abort()


uvloop.run(main())
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
