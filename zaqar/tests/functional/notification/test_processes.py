# SPDX-License-Identifier: Apache-2.0
"""Notifiers as processes: started, killed, switched off."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler

import pytest
import requests

from benchmarks import notify_soak
from zaqar.notification.claimed_delivery_and_lease import LEASE
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.tests.functional.notification.conftest import (
    MakeReceiver,
    MakeRig,
)
from zaqar.tests.servers import process
from zaqar.tests.servers.receivers import Receiver, answer
from zaqar.tests.servers.zaqar import Zaqar

_REST = """
[drivers]
transport = wsgi
[notification]
allowed_networks = 127.0.0.0/8
{more}
"""


def place(folder: pathlib.Path, more: str = '') -> Zaqar:
    """Return a service on the store that a rig has there."""
    return Zaqar(folder, rest=_REST.format(more=more))


def test_a_notifier_runs_alone_and_ends_when_told(
    make_rig: MakeRig, receiver: Receiver, tmp_path: pathlib.Path
) -> None:
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    command = place(tmp_path).command(program='notifier')
    notifier = process.Process(command, tmp_path / 'notifier.log')
    rig.post('x')
    receiver.wait(1)
    assert notifier.stop(signal.SIGTERM) == 0
    rig.rests()


def test_queues_from_before_there_were_pools_are_told(
    make_rig: MakeRig, receiver: Receiver, tmp_path: pathlib.Path
) -> None:
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    rig.post('x')
    # There is no pool, and no new queue would go where this one is.
    rest = _REST.format(more='')
    after = Zaqar(tmp_path, general='pooling = True', rest=rest)
    command = after.command(program='notifier')
    notifier = process.Process(command, tmp_path / 'notifier.log')
    receiver.wait(1)
    assert notifier.stop(signal.SIGTERM) == 0
    rig.rests()


def test_a_notifier_has_as_many_attempts_as_asked_for_and_reports_them(
    make_rig: MakeRig, receiver: Receiver, tmp_path: pathlib.Path
) -> None:
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    command = place(tmp_path).command('--workers', '3', program='notifier')
    log = tmp_path / 'notifier.log'
    notifier = process.Process(command, log)
    rig.post('x')
    receiver.wait(1)
    os.kill(notifier.child.pid, signal.SIGUSR2)
    notifier.wait_until(
        lambda: 'hosts with an open circuit' in log.read_text()
    )
    assert notifier.stop(signal.SIGTERM) == 0
    assert 'attempts at a time = 3\n' in log.read_text()


def test_wrong_usage_of_the_notifier_and_help(tmp_path: pathlib.Path) -> None:
    alone = place(tmp_path)
    assert alone.run('--nonsense', program='notifier').returncode == 2
    assert alone.run('--workers', '0', program='notifier').returncode == 1
    for program in ('notifier', 'server'):
        manual = alone.run('--help', program=program)
        assert manual.returncode == 0
        for part in ('NAME', 'DESCRIPTION', 'EXIT STATUS', '--config-file'):
            assert part in manual.stdout


def test_a_notifier_killed_after_sending_causes_a_repetition_and_no_loss(
    make_rig: MakeRig, make_receiver: MakeReceiver, tmp_path: pathlib.Path
) -> None:
    came, go_on = threading.Event(), threading.Event()

    def behave(handler: BaseHTTPRequestHandler, number: int) -> None:
        if not number:
            came.set()
            go_on.wait(60)
        answer(200)(handler, number)

    receiver = make_receiver(behave)
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    rig.post('x')
    command = place(tmp_path).command(program='notifier')
    notifier = process.Process(command, tmp_path / 'notifier.log')
    assert came.wait(60)
    notifier.child.kill()
    notifier.child.wait()
    go_on.set()
    # Another one finds it when the claim of the dead one has lapsed.
    rig.ahead = LEASE + 1
    rig.start()
    first, second = receiver.wait(2)
    assert first.body == second.body
    assert first.headers['webhook-id'] == second.headers['webhook-id']
    rig.rests()


def test_two_notifiers_tell_each_subscriber_once(
    make_rig: MakeRig, receiver: Receiver, tmp_path: pathlib.Path
) -> None:
    rig = make_rig()
    rig.subscribe(receiver.url)
    command = place(tmp_path).command(program='notifier')
    log = tmp_path / 'notifier.log'
    other = process.Process(command, log)
    other.wait_until(lambda: 'Delivering' in log.read_text())
    for number in range(50):
        rig.post(number)
    receiver.wait(50)
    rig.rests()
    assert other.stop() == 0
    assert sorted(got.json['body'] for got in receiver.got) == list(range(50))


def test_without_the_stage_nobody_is_told(
    make_rig: MakeRig, receiver: Receiver, tmp_path: pathlib.Path
) -> None:
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    server = place(tmp_path, '[storage]\nmessage_pipeline =').start()
    answered = requests.post(
        f'{server.url}/v2/queues/q/messages',
        json={'messages': [{'body': 'x'}]},
        headers={**notify_soak.headers(), 'X-Project-Id': 'p'},
        timeout=60,
    )
    assert answered.status_code == 201
    assert len(server.workers()) == 1
    assert server.stop() == 0
    assert rig.bodies('q') == ['x']
    assert rig.store.stats(OUTBOX, now=rig.now()).total == 0
    done = server.run(program='notifier')
    assert done.returncode == 1
    assert 'message_pipeline is empty' in done.stderr


@pytest.mark.parametrize(
    ('more', 'children'), [('', 2), ('embedded = False', 1)]
)
def test_the_server_delivers_unless_told_otherwise(
    tmp_path: pathlib.Path, more: str, children: int
) -> None:
    server = place(tmp_path, more).start()
    assert len(server.workers()) == children
    assert server.stop() == 0


def test_each_process_of_another_wsgi_server_delivers(
    make_rig: MakeRig, receiver: Receiver, tmp_path: pathlib.Path
) -> None:
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    rig.post('x')
    # What uWSGI does in each of its processes.
    load = 'import zaqar.transport.wsgi.app, threading as t; t.Event().wait()'
    running = process.Process(
        [sys.executable, '-c', load],
        tmp_path / 'wsgi.log',
        env={'OS_ZAQAR_CONFIG_FILES': str(place(tmp_path).conf)},
    )
    try:
        receiver.wait(1)
        rig.rests()
    finally:
        running.stop(signal.SIGKILL)


@pytest.mark.parametrize(
    ('more', 'text'),
    [
        (
            '[storage]\nmessage_pipeline = some.stage',
            '[storage] message_pipeline: there is no stage "some.stage"',
        ),
        (
            '[storage]\nclaim_pipeline = zaqar.notification.notifier',
            '[storage] claim_pipeline: there is no stage',
        ),
        ('allowed_ports = all', '[notification] allowed_ports'),
    ],
)
def test_what_cannot_be_stops_the_start_with_one_line(
    tmp_path: pathlib.Path, more: str, text: str
) -> None:
    done = place(tmp_path, more).run()
    assert done.returncode == 1
    assert text in done.stderr
    assert 'Traceback' not in done.stderr


def test_every_message_reaches_every_subscriber_while_all_is_killed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ['--rounds', '1', '--posts', '200', '--subscribers', '3']
    assert notify_soak.main(words) == 0
    assert 'nothing is missing' in capsys.readouterr().out
