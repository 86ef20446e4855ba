#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: an ASGI application may cancel a call of receive(), as frameworks
# do to learn without waiting whether a client has gone. Nothing is lost by it:
# the next call returns the event that comes next, and http.disconnect only if
# the client has closed its connection.
#
# granian 2.8.9 loses the event of a call that is cancelled early: here that of
# the end of an empty body. After it the next call returns http.disconnect for
# about two of three requests, although their clients are there and read the
# answers, and nothing for the others.
#
# Output: how many of 100 requests got their event, and whether any client that
# was there was said to have gone.
#
#     not cancelled: 100 with an event, none said to have gone
#     cancelled: 0 with an event, some said to have gone

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    granian==2.8.9

expected='not cancelled: 100 with an event, none said to have gone
cancelled: 0 with an event, some said to have gone'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import asyncio
import contextlib
import http.client
import multiprocessing
import socket
import time

from granian import Granian

with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]


async def app(scope, receive, send):
    if scope['type'] != 'http':
        return
    if scope['path'] == '/cancelled':
        call = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
    try:
        event = await asyncio.wait_for(receive(), 0.1)
        text = event['type']
    except asyncio.TimeoutError:
        text = 'nothing'
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': text.encode()})


def serve():
    target = 'app:application'
    server = Granian(target, port=port, interface='asgi', log_enabled=False)
    server.serve(target_loader=lambda *_, **__: app)


def event(path):
    client = http.client.HTTPConnection('127.0.0.1', port)
    client.request('GET', path)
    return client.getresponse().read().decode()


if __name__ == '__main__':
    process = multiprocessing.get_context('fork').Process(target=serve)
    process.start()
    try:
        for _ in range(100):
            try:
                event('/')
                break
            except ConnectionError:
                time.sleep(0.1)
        for name in ('not cancelled', 'cancelled'):
            events = [event(f'/{name.replace(" ", "-")}') for _ in range(100)]
            gone = 'some' if 'http.disconnect' in events else 'none'
            bodies = events.count('http.request')
            print(f'{name}: {bodies} with an event, {gone} said to have gone')
    finally:
        process.terminate()
        process.join(10)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
