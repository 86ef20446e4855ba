# SPDX-License-Identifier: Apache-2.0
"""Receivers as they are found in the wild."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import pathlib
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler

import pytest

from zaqar.notification.senders.webhook import WebhookSender
from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.notification.conftest import (
    MakeReceiver,
    MakeRig,
    MakeSilent,
)
from zaqar.tests.functional.notification.rig import FEW, Rig
from zaqar.tests.servers import process
from zaqar.tests.servers.receivers import (
    Receiver,
    answer,
    certificate,
    in_turn,
)
from zaqar.webhook_client.http_client import NoResponse, WebhookClient
from zaqar.webhook_client.http_connection import MAX_READ
from zaqar.webhook_client.receiver_address_guard import Guard

#: Three attempts at once, no later ones.
THREE = {**FEW, 'retries_with_no_delay': 2}

#: One more after a while.
LATER = {
    **FEW,
    'minimum_delay_retries': 1,
    'minimum_delay': 100,
    'maximum_delay': 110,
    'maximum_delay_retries': 10,
    'retry_backoff_function': 'arithmetic',
}


def reason(rig: Rig, subscription: str) -> str:
    """Return why the last delivery failed, once it has."""
    failure = rig.until(lambda: rig.deliveries(subscription)['last_failure'])
    return str(failure['reason'])


def test_one_that_is_slow_is_waited_for(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    def slow(handler: BaseHTTPRequestHandler, number: int) -> None:
        time.sleep(1)
        answer(200)(handler, number)

    receiver = make_receiver(slow)
    one = rig.subscribe(receiver.url)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['delivered'])
    rig.rests()
    assert len(receiver.got) == 1
    assert rig.deliveries(one)['last_failure'] is None


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_one_that_sends_elsewhere_is_not_followed(
    rig: Rig, make_receiver: MakeReceiver, status: int
) -> None:
    other = make_receiver()
    receiver = make_receiver(answer(status, Location=other.url))
    loop = make_receiver()
    loop.behave = answer(status, Location=loop.url)
    subscriptions = [
        rig.subscribe(one.url, _retry_policy=THREE) for one in (receiver, loop)
    ]
    rig.post('x')
    for one in subscriptions:
        rig.until(lambda one=one: rig.deliveries(one)['retried'] == 3)
        assert reason(rig, one) == f'answered {status}'
    assert (len(receiver.got), len(loop.got), other.got) == (3, 3, [])


def test_500_twice_and_then_200_makes_three_calls(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(in_turn(answer(500), answer(503), answer(200)))
    one = rig.subscribe(receiver.url)
    rig.post('x')
    got = receiver.wait(3)
    rig.rests()
    assert len({request.headers['webhook-id'] for request in got}) == 1
    attempts = [request.headers['x-zaqar-attempt'] for request in got]
    assert attempts == ['1', '2', '3']
    status = rig.until(
        lambda: (
            (state := rig.deliveries(one))
            and state['delivered'] == 1
            and state
        )
    )
    assert (status['retried'], status['given_up']) == (2, 0)
    assert status['last_failure']['reason'] == 'answered 503'
    assert len(receiver.got) == 3


@pytest.mark.parametrize('status', [400, 401, 403, 404, 413, 422])
def test_one_that_refuses_is_called_once(
    rig: Rig, make_receiver: MakeReceiver, status: int
) -> None:
    receiver = make_receiver(answer(status))
    one = rig.subscribe(receiver.url)
    rig.post('x')
    assert reason(rig, one) == f'answered {status}'
    rig.rests()
    assert len(receiver.got) == 1
    assert rig.deliveries(one)['given_up'] == 1


@pytest.mark.parametrize('status', [408, 425, 429, 500, 502, 503, 504])
def test_one_that_cannot_just_now_is_called_again(
    rig: Rig, make_receiver: MakeReceiver, status: int
) -> None:
    receiver = make_receiver(in_turn(answer(status), answer(200)))
    rig.subscribe(receiver.url)
    rig.post('x')
    receiver.wait(2)
    rig.rests()
    assert len(receiver.got) == 2


def _put_off(rig: Rig) -> int:
    """Return how many deliveries wait for a later attempt."""
    return sum(b'"attempt":' in one.body for one in rig.waiting())


def test_one_that_names_a_time_is_left_alone_until_then(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver, sooner = (
        make_receiver(in_turn(answer(429, Retry_After=after), answer(200)))
        for after in ('1000', '500')
    )
    _, other = (
        rig.subscribe(target.url, _retry_policy=LATER)
        for target in (receiver, sooner)
    )
    rig.post('x')
    rig.until(lambda: _put_off(rig) == 2)
    # Long before, since real time passes, too; the other shows that what
    # is due by now has been called.
    rig.ahead = 900
    rig.until(lambda: rig.deliveries(other)['delivered'])
    assert (len(receiver.got), len(sooner.got)) == (1, 2)
    rig.ahead = 1002
    receiver.wait(2)
    rig.rests()


def test_one_that_asks_for_too_long_is_called_within_the_policy(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(
        in_turn(answer(503, Retry_After='99999'), answer(200))
    )
    rig.subscribe(receiver.url, _retry_policy=LATER)
    rig.post('x')
    rig.put_off()
    # maximum_delay times maximum_delay_retries.
    rig.ahead = 1102
    receiver.wait(2)


def test_the_next_message_does_not_wait_for_one_that_is_put_off(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(in_turn(answer(500), answer(200)))
    rig.subscribe(receiver.url, _retry_policy=LATER)
    rig.post('first', 'second')
    assert [got.json['body'] for got in receiver.wait(2)] == [
        'first',
        'second',
    ]
    rig.put_off()
    rig.ahead = 111
    got = receiver.wait(3)[2]
    assert (got.json['body'], got.headers['x-zaqar-attempt']) == ('first', '2')
    rig.rests()


def test_one_that_hangs_is_called_again(
    make_rig: MakeRig, make_silent: MakeSilent
) -> None:
    rig = make_rig(request_timeout=0.5)
    silent = make_silent()
    one = rig.subscribe(silent.url, _retry_policy=THREE)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['retried'] == 3)
    assert 'answer' in reason(rig, one)


@pytest.mark.parametrize('part', ['head', 'body', 'drops'])
def test_one_that_hangs_half_way_is_cut_off_in_time(
    make_rig: MakeRig, make_receiver: MakeReceiver, part: str
) -> None:
    def drip(handler: BaseHTTPRequestHandler, _number: int) -> None:
        with contextlib.suppress(OSError):
            handler.wfile.write(b'HTTP/1.1 200 OK\r\n')
            if part == 'body':
                handler.wfile.write(b'Content-Length: 10000\r\n\r\n')
            handler.wfile.flush()
            for _ in range(100 if part == 'drops' else 0):
                # Each is in time by itself.
                handler.wfile.write(b'X-Drop: x\r\n')
                handler.wfile.flush()
                time.sleep(0.2)
            time.sleep(20)

    rig = make_rig(request_timeout=1)
    receiver = make_receiver(drip)
    one = rig.subscribe(receiver.url, _retry_policy=FEW)
    with ends_within(15):
        rig.post('x')
        assert 'answer' in reason(rig, one)


def test_one_that_never_stops_answering_is_not_listened_to(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    sent: list[int] = []

    def endless(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b'x' * 65536)
                sent.append(65536)

    receiver = make_receiver(endless)
    one = rig.subscribe(receiver.url)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['delivered'])
    rig.rests()
    # What was on its way, and no more.
    assert sum(sent) < 64 * 2**20 > MAX_READ
    assert len(receiver.got) == 1


def test_one_that_hangs_up_is_called_again(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    def reset(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)
        )
        handler.connection.close()
        handler.close_connection = True

    receiver = make_receiver(in_turn(reset, answer(200)))
    one = rig.subscribe(receiver.url)
    rig.post('x')
    receiver.wait(2)
    rig.until(lambda: rig.deliveries(one)['delivered'])
    assert rig.deliveries(one)['retried'] == 1


def test_one_that_is_not_there_is_called_again(rig: Rig) -> None:
    port = process.free_port()
    one = rig.subscribe(f'http://127.0.0.1:{port}/', _retry_policy=THREE)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['retried'] == 3)
    assert reason(rig, one) == 'there was no answer'


# TLS.


def tls_sender(folder: pathlib.Path) -> dict[str, WebhookSender]:
    caller = WebhookClient(
        Guard([ipaddress.ip_network('127.0.0.0/8')]),
        connect=5,
        total=5,
        ca_certs=str(folder / 'ca.pem'),
    )
    return {'https': WebhookSender(caller, None)}


def test_tls_is_spoken_to_the_name_that_was_subscribed(
    make_rig: MakeRig, make_receiver: MakeReceiver, tmp_path: pathlib.Path
) -> None:
    tls = certificate(tmp_path, 'localhost')
    receiver = make_receiver(tls=tls)
    rig = make_rig(senders=tls_sender(tmp_path))
    rig.subscribe(f'https://localhost:{receiver.port}/')
    rig.post('x')
    receiver.wait(1)


def test_one_with_the_certificate_of_another_gets_nothing(
    make_rig: MakeRig, make_receiver: MakeReceiver, tmp_path: pathlib.Path
) -> None:
    tls = certificate(tmp_path, 'somebody.example')
    receiver = make_receiver(tls=tls)
    rig = make_rig(senders=tls_sender(tmp_path))
    one = rig.subscribe(
        f'https://localhost:{receiver.port}/', _retry_policy=FEW
    )
    rig.post('x')
    assert reason(rig, one) == 'there was no answer'
    assert not receiver.got


# Addresses.


def test_a_private_address_behind_a_name_gets_nothing(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(allowed_networks=())
    one = rig.subscribe(f'http://localhost:{receiver.port}/')
    rig.post('x')
    assert 'public' in reason(rig, one)
    rig.rests()
    assert not receiver.got
    assert rig.deliveries(one)['given_up'] == 1


def test_a_private_address_is_refused_after_a_change_of_its_name(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    def close(handler: BaseHTTPRequestHandler, number: int) -> None:
        answer(200, Connection='close')(handler, number)

    allowed = make_receiver(close)
    other = Receiver(host='127.0.0.2')
    places = [('127.0.0.1', allowed.port), ('127.0.0.2', other.port)]
    guard = Guard(
        [ipaddress.ip_network('127.0.0.1/32')],
        resolver=lambda _host, _port: [places[0]],
    )
    caller = WebhookClient(guard, connect=5, total=5)
    rig = make_rig(senders={'http': WebhookSender(caller, None)})
    one = rig.subscribe('http://fickle.example/')
    rig.post('x')
    allowed.wait(1)
    places.pop(0)
    rig.post('y')
    assert 'public' in reason(rig, one)
    rig.rests()
    assert not other.got
    other.stop()


def test_a_port_that_is_not_allowed_gets_nothing(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(allowed_ports=((80, 80), (443, 443)))
    one = rig.subscribe(receiver.url)
    rig.post('x')
    assert reason(rig, one) == f'port {receiver.port} is not allowed'
    assert not receiver.got


def test_a_proxy_of_the_environment_is_used(
    make_rig: MakeRig,
    make_receiver: MakeReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy, receiver = make_receiver(), make_receiver()
    monkeypatch.setenv('http_proxy', proxy.url)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    rig = make_rig(allowed_networks=(), allowed_ports=((1, 65535),))
    rig.subscribe('http://behind.example:8080/hook')
    rig.post('x')
    (got,) = proxy.wait(1)
    assert got.path == 'http://behind.example:8080/hook'
    assert not receiver.got


def test_a_name_with_many_dead_addresses_gets_no_more_time() -> None:
    with socket.create_server(('127.0.0.1', 0), backlog=0) as deaf:
        place = deaf.getsockname()
        # Takes nobody in once its queue is full.
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(place)
        guard = Guard(
            [ipaddress.ip_network('127.0.0.0/8')],
            resolver=lambda _host, _port: [place] * 100,
        )
        caller = WebhookClient(guard, connect=0.4, total=1)
        # Rather than a hundred times what connecting may take.
        with ends_within(20), pytest.raises(NoResponse, match='no answer'):
            asyncio.run(caller.post('http://many.example/', {}, b''))
        caller.close()
        for one in crowd:
            one.close()
