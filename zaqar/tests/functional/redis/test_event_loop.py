# SPDX-License-Identifier: Apache-2.0
"""Requests that an event loop answers itself while Redis is waited for."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from oslo_config import cfg

from zaqar import service_assembly
from zaqar.controllers.websocket_connection_quota import Sockets
from zaqar.current_request import OF_THREAD
from zaqar.event_loop_greenlets import LoopGreenlet
from zaqar.storage.redis.node_connection_pool import RedisNode
from zaqar.tests.contract.probe import Probe
from zaqar.tests.functional.redis.application_calls import asking
from zaqar.tests.functional.redis.conftest import DURABLE
from zaqar.tests.functional.redis.test_access import settings
from zaqar.tests.functional.redis.test_service import HEADERS, Start
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets
from zaqar.tests.servers.redis import Redis
from zaqar.tests.servers.zaqar import Zaqar, pause, resume
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_handler import FrameHandler

#: More than threads, fewer than what is under way at a time, and more than
#: that.
CLIENTS, CROWD = 24, 48

LOOP = '[drivers:transport:wsgi]\nloop_requests = 32\n'

#: Groups that have requests look at quotas and rates.
LIMITED = """
[quotas]
queues = 1000
message_bytes = 1000000000
project_quotas = true
[rates]
requests = 1000000
messages = 1000000
"""


@pytest.fixture
def serving(own_server: Start, tmp_path: pathlib.Path) -> Iterator[Any]:
    """A Redis that keeps everything, and a server on it."""
    redis = own_server(**DURABLE)
    server = Zaqar(tmp_path, rest=settings(redis.url) + LOOP).start()
    yield redis, server
    server.stop()


def _post(
    server: Zaqar, body: str, project: str = 'demo'
) -> requests.Response:
    return requests.post(
        f'{server.url}/v2/queues/orders/messages',
        headers={**HEADERS, 'X-Project-ID': project},
        json={'messages': [{'body': body}]},
        timeout=30,
    )


def test_nothing_acknowledged_is_lost_when_redis_is_killed(
    serving: tuple[Redis, Zaqar],
) -> None:
    redis, server = serving
    acknowledged: list[str] = []
    refused = threading.Event()

    def insist(client: int) -> None:
        for number in range(40):
            body = f'{client}-{number}'
            answer = _post(server, body)
            if answer.status_code == 201:
                acknowledged.append(body)
            else:
                assert answer.status_code == 503
                refused.set()

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
        posting = [threads.submit(insist, number) for number in range(CLIENTS)]
        while len(acknowledged) < CLIENTS:
            time.sleep(0.01)
        redis.kill()
        assert refused.wait(60)
        redis.start()
        for future in posting:
            future.result()
    assert _post(server, 'last').status_code == 201
    stored: list[str] = []
    path = '/v2/queues/orders/messages?echo=true&limit=20'
    while path:
        page = requests.get(server.url + path, headers=HEADERS, timeout=30)
        messages = page.json()['messages']
        stored += [message['body'] for message in messages]
        path = page.json()['links'][0]['href'] if messages else ''
    assert {*acknowledged, 'last'} <= {*stored}
    assert len(stored) == len({*stored})


@pytest.fixture
def pooled(
    own_server: Start, server: Redis, tmp_path: pathlib.Path
) -> Iterator[tuple[Redis, Zaqar]]:
    """A Redis with the queues of one project, and a server on another."""
    redis = own_server()
    zaqar = Zaqar(
        tmp_path,
        general='pooling = true\nadmin_mode = true',
        rest=settings(f'{server.url}?dbid=903') + LOOP,
    ).start()
    for name, uri in {
        'silent': redis.url,
        'sound': f'{server.url}?dbid=904',
    }.items():
        for path, body in {
            f'pools/{name}': {'uri': uri, 'weight': 10},
            f'flavors/{name}': {'pool_list': [name]},
            'queues/orders': {'_flavor': name},
        }.items():
            answer = requests.put(
                f'{zaqar.url}/v2/{path}',
                headers=_of(name),
                json=body,
                timeout=30,
            )
            assert answer.status_code == 201
    yield redis, zaqar
    zaqar.stop()


def _of(project: str) -> dict[str, str]:
    return {**HEADERS, 'X-Project-ID': project, 'X-Roles': 'admin'}


def test_a_silent_redis_keeps_nobody_waiting_but_who_needs_it(
    pooled: tuple[Redis, Zaqar],
) -> None:
    redis, server = pooled
    assert _post(server, 'first', 'silent').status_code == 201
    assert _post(server, 'first', 'sound').status_code == 201
    pause(redis.process.child.pid)
    try:
        with concurrent.futures.ThreadPoolExecutor(CROWD) as threads:
            answers = [
                threads.submit(_post, server, str(number), 'silent')
                for number in range(CROWD)
            ]
            # While all of them wait for it, others have places.
            while not all(answer.done() for answer in answers):
                answer = _post(server, 'other', 'sound')
                assert answer.status_code == 201
                assert answer.elapsed.total_seconds() < 1.5
            for each in answers:
                assert each.result().status_code == 503
    finally:
        resume(redis.process.child.pid)
    assert _post(server, 'again', 'silent').status_code == 201


def test_frames_of_many_connections_keep_their_order(
    serving: tuple[Redis, Zaqar],
) -> None:
    """Binary and text frames, a wait, and what threads answer between."""
    _, server = serving
    project = uuid.uuid4().hex
    new = {'OpenStack-API-Version': 'messaging 2.1'}
    waiting = Talk(server.socket_url, project)
    waiting.send(
        'claim_create',
        {'queue_name': 'waited', 'wait': 20},
        {**new, 'request_id': 1},
    )
    talks = [
        Talk(server.socket_url, project, is_binary=bool(number % 2))
        for number in range(CLIENTS)
    ]
    for talk in talks:
        for action in ('message_post', 'queue_list', 'message_list'):
            body: dict[str, Any] = {}
            if action != 'queue_list':
                body['queue_name'] = 'orders'
            if action == 'message_post':
                body['messages'] = [{'body': 1, 'ttl': 60}]
            talk.send(action, body)
    for talk in talks:
        said = [talk.said() for _ in range(3)]
        assert [one.status for one in said] == [201, 200, 200]
        assert [one.request['action'] for one in said] == [
            *('message_post', 'queue_list', 'message_list'),
        ]
    posted = talks[0].ask(
        'message_post', queue_name='waited', messages=[{'body': 7, 'ttl': 60}]
    )
    assert posted.status == 201
    claimed = waiting.said()
    assert [one['body'] for one in claimed.body['messages']] == [7]
    for talk in (*talks, waiting):
        talk.cut()


class _WatchedLock:
    """A lock that knows which greenlet holds it."""

    held: dict[LoopGreenlet, list[_WatchedLock]]

    def __init__(self) -> None:
        self._lock = _LOCK()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        one = OF_THREAD.request.greenlet
        if (
            blocking
            and one is not None
            and any(self in held for held in self.held.values())
        ):
            raise AssertionError('the loop would wait for itself')
        if not self._lock.acquire(blocking, timeout):
            return False
        if one is not None:
            self.held.setdefault(one, []).append(self)
        return True

    def release(self) -> None:
        one = OF_THREAD.request.greenlet
        if one is not None and self in self.held.get(one, ()):
            self.held[one].remove(self)
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


_LOCK = threading.Lock


def _held_while_waiting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what takes the places where a lock is held across a wait."""
    _WatchedLock.held = {}
    places: list[str] = []
    pause = LoopGreenlet.pause

    def watched(one: LoopGreenlet) -> Any:
        if _WatchedLock.held.get(one):
            places.append(str(one.gr_frame or threading.current_thread()))
        return pause(one)

    monkeypatch.setattr(threading, 'Lock', _WatchedLock)
    monkeypatch.setattr(LoopGreenlet, 'pause', watched)
    return places


def _framing(service: service_assembly.Service) -> Callable[..., Any]:
    """Return what answers frames, each on a new connection."""
    dispatcher = service.dispatcher
    handler = FrameHandler(
        dispatcher,
        Authenticator.from_conf(
            service.conf, dispatcher.limits, dispatcher.signer
        ),
        sockets=Sockets(
            dispatcher.quotas, service.catalogue.management, 'node'
        ),
    )

    def ask(action: str, **body: Any) -> Any:
        session = handler.session(str(uuid.uuid4()))
        document = {'action': action, 'headers': HEADERS, 'body': body}
        answer = handler.answer(session, Frame(json.dumps(document).encode()))
        said = json.loads(answer.data)
        assert said['headers']['status'] < 300, said
        return said['body']

    return ask


@pytest.mark.parametrize('kind', ['redis', 'sqlite'])
def test_no_greenlet_holds_a_lock_while_it_waits(
    kind: str,
    server: Redis,
    tmp_path: pathlib.Path,
    greenlets: Greenlets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another one of the loop would wait for it in the only thread."""
    places = _held_while_waiting(monkeypatch)
    file = tmp_path / 'zaqar.conf'
    # Both stores and a pool are on this server, or in files.
    uris = [f'{server.url}?dbid={number}' for number in (901, 902)]
    stores = settings(uris[0])
    if kind == 'sqlite':
        uris = [f'sqlite:///{tmp_path}/{name}' for name in 'ab']
        stores = f'[pooling:catalog]\nsqlite_path = {tmp_path}\n'
    file.write_text(
        f'[DEFAULT]\nstate_path = {tmp_path}\nadmin_mode = true\n'
        f'pooling = true\n{stores}{LIMITED}'
    )
    conf = cfg.ConfigOpts()
    conf([f'--config-file={file}'], project='zaqar')
    service = service_assembly.Service(conf)
    try:
        assert service.waits_in_greenlets
        ask = asking(
            service.application(),
            {
                **HEADERS,
                'OpenStack-API-Version': 'messaging 2.1',
                'X-Roles': 'admin',
            },
        )
        frame = _framing(service)
        pool = {'uri': uris[1], 'weight': 10}
        assert ask('PUT', '/v2/pools/one', pool)[0] == 201

        def work(number: int) -> None:
            # Two of them use the same queue.
            queue = f'/v2/queues/q{number // 2}'
            body = {'messages': [{'body': n, 'ttl': 300} for n in range(5)]}
            assert ask('POST', f'{queue}/messages', body)[0] == 201
            assert ask('GET', queue)[0] == 200
            assert ask('GET', f'{queue}/messages?echo=true')[0] == 200
            status, claim = ask('POST', f'{queue}/claims?limit=2', {})
            assert status == 201
            for message in claim['messages']:
                assert ask('DELETE', message['href'])[0] == 204
            name = f'f{number // 2}'
            frame('message_post', queue_name=name, messages=body['messages'])
            frame('message_list', queue_name=name, echo=True)
            frame('claim_create', queue_name=name, limit=2, ttl=60, grace=60)

        results = greenlets.run(
            *(lambda number=number: work(number) for number in range(8))
        )
        assert results == [None] * 8
        assert places == []
    finally:
        service.close()


def test_pops_share_no_connection(
    queue: Probe, greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the answers of many would be lost with it, and their messages."""
    callers: list[LoopGreenlet | None] = []
    exchange = RedisNode.exchange

    def watched(node: RedisNode, *arguments: Any) -> list[Any]:
        callers.append(OF_THREAD.request.greenlet)
        return exchange(node, *arguments)

    monkeypatch.setattr(RedisNode, 'exchange', watched)
    greenlets.run(lambda: queue.pop(1))
    assert {*callers} == {None}
