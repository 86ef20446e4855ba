# SPDX-License-Identifier: Apache-2.0
"""Misbehaving clients for a service on this machine.

Each is a function that prepares, prints a line and runs until it is stopped or
its connections are closed. The load is bounded, and about ten times what once
delayed other clients.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks import load, requests, websocket_connections
from benchmarks.load import Step, WrongAnswerError
from benchmarks.receiver import Receiver

PROJECT = 'misbehaving'

#: Bytes of the longest body that is accepted.
LONGEST = 256 * 1024

_PING = bytes((0x89, 0x80)) + bytes(4)
_EMPTY = bytes((0x00, 0x80)) + bytes(4)
_LETTER = bytes((0x01, 0x81)) + bytes(4) + b'{'


def _begin() -> None:
    print('begun', flush=True)


def _connect(port: int) -> socket.socket:
    return socket.create_connection(('127.0.0.1', port), 30)


def _ask(port: int, method: str, path: str, status: int, body: object) -> None:
    data = b'' if body is None else json.dumps(body).encode()
    connection = load.Connection(port)
    request = requests.request(PROJECT, method, path, data)
    connection.exchange(Step(request, status))
    connection.close()


def _together(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def no_json(port: int, _: int) -> None:
    """Post long texts that only look like JSON."""
    texts = [
        b'[' * 200 + filler * ((LONGEST - 200) // len(filler))
        for filler in (b'-', b'e', b'"\\', b'1', b'{')
    ]
    path = '/v2/queues/q/messages'
    steps = [
        Step(requests.request(PROJECT, 'POST', path, text), 400)
        for text in texts
    ]

    def work() -> None:
        for _ in range(200):
            for step in steps:
                connection = load.Connection(port)
                connection.exchange(step)
                connection.close()

    _begin()
    _together(4, work)


def slow_bodies(port: int, _: int) -> None:
    """Announce bodies and send three bytes of each."""
    head = (
        b'POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Project-ID: x\r\n'
        b'Client-ID: 3381af92-2b9e-11e3-b191-71861300734c\r\n'
        b'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"m'
    )
    paths = (b'/confirm', b'/v2/queues/q/messages')
    held: list[socket.socket] = []
    _begin()
    for number in range(1000):
        one = _connect(port)
        one.sendall(head % paths[number % len(paths)])
        held.append(one)
    time.sleep(3600)


def tiny_frames(_: int, port: int) -> None:
    """Send a million frames of next to nothing, before any login."""
    connections = [websocket_connections.Socket(port) for _ in range(10)]
    _begin()
    for number, one in enumerate(connections):
        frames = _PING if number % 2 else _EMPTY
        first = b'' if number % 2 else _LETTER
        try:
            one.socket.sendall(first + frames * 100_000)
        except OSError:
            # The server had enough of it.
            continue
    time.sleep(3600)


def large_pushes(port: int, _: int) -> None:
    """Have a template name a large message many times, ten times over."""
    receiver = Receiver()
    template = '"$zaqar_message$"' * 3000
    for number in range(10):
        options = {'post_data': template}
        body = {
            'subscriber': f'{receiver.url}/{number}',
            'ttl': 3600,
            'options': options,
        }
        _ask(port, 'POST', '/v2/queues/q/subscriptions', 201, body)
    message = {'body': 'x' * 200_000, 'ttl': 3600}
    _begin()
    _ask(port, 'POST', '/v2/queues/q/messages', 201, {'messages': [message]})
    time.sleep(3600)


def slow_readers(port: int, socket_port: int) -> None:
    """Ask for large pages on 200 sockets and read none of them."""
    _fill(port)
    ask = {'queue_name': 'q', 'limit': 20, 'echo': True}
    frame = websocket_connections.request(PROJECT, 'message_list', ask)
    _begin()
    held = [websocket_connections.Socket(socket_port) for _ in range(200)]
    _ask_and_leave(held, frame * 20)


def slow_http_readers(port: int, _: int) -> None:
    """Ask for large pages on 200 HTTP connections and read none of them."""
    _fill(port)
    path = '/v2/queues/q/messages?limit=20&echo=true'
    request = requests.request(PROJECT, 'GET', path)
    _begin()
    held = [load.Connection(port) for _ in range(200)]
    _ask_and_leave(held, request * 20)


def _fill(port: int) -> None:
    message = {'body': 'x' * 240_000, 'ttl': 3600}
    for _ in range(20):
        path = '/v2/queues/q/messages'
        _ask(port, 'POST', path, 201, {'messages': [message]})


def _ask_and_leave(held: Sequence[load.Connection], data: bytes) -> None:
    for one in held:
        one.socket.setblocking(False)
        with contextlib.suppress(OSError):
            one.socket.sendall(data)
    time.sleep(3600)


def silent_sockets(_: int, port: int) -> None:
    """Open a thousand sockets and say nothing."""
    _begin()
    held = []
    for _ in range(1000):
        try:
            held.append(websocket_connections.Socket(port))
        except (OSError, WrongAnswerError):
            time.sleep(0.01)
    time.sleep(3600)


def filters(port: int, _: int) -> None:
    """List 15,000 queues with much metadata by a filter none matches."""
    metadata = {'text': 'x' * 60_000}
    connection = load.Connection(port)
    body = json.dumps(metadata).encode()
    for number in range(int(os.environ.get('QUEUES', '15000'))):
        path = f'/v2/queues/q{number}'
        request = requests.request(PROJECT, 'PUT', path, body)
        connection.exchange(Step(request, 201))
    connection.close()
    # What was prepared must not cost the disk anything later.
    os.sync()
    path = '/v2/queues?other=thing&limit=20'
    step = Step(requests.request(PROJECT, 'GET', path), 200)

    def work() -> None:
        connection = load.Connection(port)
        for _ in range(10_000):
            connection.exchange(step)

    _begin()
    _together(4, work)


WAYS: Mapping[str, Callable[[int, int], None]] = {
    'no-json': no_json,
    'slow-bodies': slow_bodies,
    'tiny-frames': tiny_frames,
    'large-pushes': large_pushes,
    'slow-readers': slow_readers,
    'slow-http-readers': slow_http_readers,
    'silent-sockets': silent_sockets,
    'filters': filters,
}


def main(arguments: Sequence[str]) -> None:
    """Run ``NAME PORT SOCKET_PORT``."""
    name, *ports = arguments
    WAYS[name](*map(int, ports))


if __name__ == '__main__':
    main(sys.argv[1:])
