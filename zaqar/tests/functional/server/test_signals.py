# SPDX-License-Identifier: Apache-2.0
"""Signals to ``zaqar-server``, and sudden deaths of its processes."""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import threading
from typing import Any

import pytest
import requests

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.server.conftest import MakeServer
from zaqar.tests.functional.server.server_requests import (
    HEADERS,
    MESSAGES,
    post,
    stored,
    until,
)
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar, children, is_alive


class Load:
    """Clients that post bodies of their own, each tried once."""

    def __init__(self, server: Zaqar, clients: int = 8) -> None:
        self.server = server
        self.acknowledged: list[str] = []
        self.other: collections.Counter[str] = collections.Counter()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,))
            for number in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        with requests.Session() as session:
            while not self._ended.is_set():
                number += 1
                self._post(session, f'{client}-{number}')

    def _post(self, session: requests.Session, body: str) -> None:
        try:
            answer = session.post(
                self.server.url + MESSAGES,
                data=json.dumps({'messages': [{'body': body}]}),
                headers=HEADERS,
                timeout=60,
            )
        except requests.RequestException as error:
            self.other[type(error).__name__] += 1
        else:
            if answer.status_code == 201:
                self.acknowledged.append(body)
            else:
                self.other[str(answer.status_code)] += 1


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_no_answer(
    make_server: MakeServer, number: signal.Signals
) -> None:
    server = make_server(workers=2).start()
    with Load(server) as load:
        assert until(lambda: len(load.acknowledged) > 200)
        assert server.stop(number) == 0
    server.start()
    # All that was stored was acknowledged too: nobody has to guess.
    assert sorted(stored(server)) == sorted(load.acknowledged)
    assert set(load.other) <= {'ConnectionError'}


def _kill_a_worker(server: Zaqar, load: Load) -> None:
    seen = len(load.acknowledged)
    assert until(lambda: len(server.workers()) == 2)
    victim = server.workers()[0]
    os.kill(victim, signal.SIGKILL)
    assert until(lambda: victim not in server.workers())
    assert until(lambda: len(load.acknowledged) > seen + 50)


def test_a_killed_worker_comes_back(make_server: MakeServer) -> None:
    server = make_server(workers=2).start()
    with Load(server) as load:
        for _ in range(3):
            _kill_a_worker(server, load)
    assert until(lambda: len(server.workers()) == 2)
    counts = collections.Counter(stored(server))
    assert set(load.acknowledged) <= set(counts)
    assert set(counts.values()) == {1}


def test_workers_do_not_outlive_a_killed_supervisor(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    assert until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    server.stop(signal.SIGKILL)
    assert until(lambda: not any(is_alive(pid) for pid in workers))
    # Its other processes listen on the same socket for a moment longer.
    assert until(lambda: _is_free(server.port))
    server.start()
    assert post(server, 1).status_code == 201


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def test_sighup_reads_the_configuration_anew_without_a_failed_request(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    path = f'{server.url}{MESSAGES}?limit=50'
    assert requests.get(path, headers=HEADERS, timeout=60).status_code == 400
    text = server.conf.read_text()
    server.conf.write_text(f'{text}\n[transport]\nmax_messages_per_page = 50')
    workers = server.workers()

    def replaced() -> bool:
        return not set(workers) & set(server.workers())

    with Load(server, clients=4) as load:
        os.kill(server.process.child.pid, signal.SIGHUP)
        assert until(replaced)
    assert not load.other
    assert len(server.workers()) == 2
    assert requests.get(path, headers=HEADERS, timeout=60).status_code == 200


def test_a_worker_is_replaced_when_its_successor_is_ready(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    before = set(server.workers())
    least = len(before)
    os.kill(server.process.child.pid, signal.SIGHUP)

    def replaced() -> bool:
        nonlocal least
        least = min(least, len(server.workers()))
        # Nobody waits for a process to be built.
        with ends_within(1):
            assert server.answers()
        return not before & set(server.workers())

    assert until(replaced)
    assert least >= len(before)
    assert 'Traceback' not in server.log.read_text()


def test_a_connection_to_a_replaced_worker_ends_with_an_answer(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=1).start()
    connection = http.client.HTTPConnection('127.0.0.1', server.port)

    def ends() -> bool:
        connection.request('GET', '/')
        answer = connection.getresponse()
        answer.read()
        return answer.getheader('Connection') == 'close'

    assert not ends()
    os.kill(server.process.child.pid, signal.SIGHUP)
    # Each of them is answered, by the process that the connection is to.
    assert until(ends)
    # The next connection is accepted by the other process, which goes on.
    assert not ends()


def test_a_loading_successor_gives_way_and_is_then_like_the_others(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=1).start()
    before = server.workers()
    usual = _policies(before[0])
    seen = set()

    def replaced() -> bool:
        new = set(server.workers()) - set(before)
        seen.update(value for pid in new for value in _policies(pid))
        return not set(before) & set(server.workers())

    os.kill(server.process.child.pid, signal.SIGHUP)
    assert until(replaced)
    assert _policies(server.workers()[0]) == usual
    assert seen <= {*usual, os.SCHED_IDLE}


def _policies(pid: int) -> set[int]:
    """Return the scheduling policies of the threads of a process."""
    policies = set()
    for thread in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(ProcessLookupError):
            policies.add(os.sched_getscheduler(int(thread)))
    return policies


def test_workers_stay_when_their_successors_cannot_start(
    make_server: MakeServer,
) -> None:
    server = make_server(workers=2).start()
    text = server.conf.read_text()
    server.conf.write_text(
        text.replace('[DEFAULT]', '[DEFAULT]\nauth_strategy = x')
    )
    before = server.workers()
    os.kill(server.process.child.pid, signal.SIGHUP)
    assert until(lambda: 'ended before it was ready' in server.log.read_text())
    assert server.workers() == before
    assert server.answers()
    # The next one finds it mended.
    server.conf.write_text(text)
    os.kill(server.process.child.pid, signal.SIGHUP)
    assert until(lambda: not set(before) & set(server.workers()))
    assert server.answers()
    assert server.stop() == 0


def test_a_websocket_server_is_replaced_on_its_port_for_other_processes(
    make_server: MakeServer,
) -> None:
    server = make_server(
        rest='[drivers]\ntransport = websocket\n',
        socket=f'node_id = a\nnotification_port = {process.free_port()}',
    )
    server.process = process.Process(server.command(), server.log)
    assert until(lambda: _shakes_hands(server))
    before = set(server.workers())
    os.kill(server.process.child.pid, signal.SIGHUP)
    assert until(lambda: not before & set(server.workers()))
    after = server.workers()
    assert until(lambda: _shakes_hands(server))
    assert server.workers() == after
    assert ' ERROR ' not in server.log.read_text()


def _shakes_hands(server: Zaqar) -> bool:
    """Tell whether the WebSocket server answers."""
    headers = {
        'Connection': 'Upgrade',
        'Upgrade': 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'MDEyMzQ1Njc4OWFiY2RlZg==',
    }
    url = server.socket_url.replace('ws:', 'http:')
    try:
        answer = requests.get(url, headers=headers, timeout=30, stream=True)
    except requests.RequestException:
        return False
    with answer:
        return answer.status_code == 101


def test_a_worker_that_cannot_start_is_tried_again(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    text = server.conf.read_text()
    server.conf.write_text(
        text.replace('[DEFAULT]', '[DEFAULT]\nauth_strategy = x')
    )
    os.kill(server.workers()[0], signal.SIGKILL)
    assert until(lambda: 'auth_strategy = x' in server.log.read_text())
    server.conf.write_text(text)
    assert until(server.answers)
    assert server.stop() == 0


def test_a_daemon_lives_without_its_terminal(make_server: MakeServer) -> None:
    server = make_server()
    log = server.folder / 'daemon.log'
    done = server.run('--daemon', '--log-file', str(log))
    assert done.returncode == 0
    assert until(server.answers)
    pid = _listener(server)
    try:
        assert os.readlink(f'/proc/{pid}/fd/1') == os.devnull
        assert os.getsid(pid) != os.getsid(0)
    finally:
        os.kill(pid, signal.SIGTERM)
    assert until(lambda: not is_alive(pid))
    assert not server.answers()


def _listener(server: Zaqar) -> int:
    """Return the process that has the configuration in its command line."""
    for entry in pathlib.Path('/proc').iterdir():
        with contextlib.suppress(OSError):
            words = (entry / 'cmdline').read_bytes().split(b'\0')
            pid = int(entry.name) if entry.name.isdigit() else 0
            if str(server.conf).encode() in words and children(pid):
                return pid
    raise AssertionError('no such process')
