# SPDX-License-Identifier: Apache-2.0
"""Requests that the event loop answers itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from zaqar.errors import InvalidBody
from zaqar.event_loop_greenlets import offload, offload_to
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets
from zaqar.transport import (
    requests_fit_for_event_loop,
    requests_waiting_for_thread_or_greenlet,
)
from zaqar.transport.wsgi import request_environ
from zaqar.transport.wsgi.server import request_greenlets
from zaqar.transport.wsgi.server.request_greenlets import RequestGreenlets
from zaqar.transport.wsgi.server.request_parser import Request
from zaqar.transport.wsgi.server.request_threads import RequestThreads

ENVIRON = request_environ.of_connection(('127.0.0.1', 8888), '127.0.0.1')


def request(
    line: str = 'GET /v2/queues/q', *headers: str, body: bytes = b''
) -> Request:
    method, _, target = line.partition(' ')
    path, _, query = target.encode().partition(b'?')
    pairs = [header.encode().split(b': ') for header in headers]
    made = Request(
        {}, method, path, query, '1.1', [(n, v) for n, v in pairs], body
    )
    made.environ = made.new_environ(ENVIRON)
    return made


@pytest.mark.parametrize(
    'line',
    [
        'GET /v2/queues/q',
        'POST /v2/queues/q/messages',
        'GET /v2/queues/q/messages?limit=10',
        'DELETE /v2/topics/t/messages/1',
        'POST /v2/queues/q/claims',
        'PATCH /v2/queues/q/claims/1',
        'POST /v2/queues/q/claims/1/settle',
    ],
)
def test_requests_for_messages_fit(line: str) -> None:
    assert request_greenlets.fits(request(line))


@pytest.mark.parametrize(
    ('line', 'header'),
    [
        ('PUT /v2/queues/q', 'Accept: */*'),
        ('GET /v2/queues', 'Accept: */*'),
        ('POST /v2/queues/q/purge', 'Accept: */*'),
        ('POST /v2/queues/q/subscriptions', 'Accept: */*'),
        ('GET /v2/queues/q/messages', 'Accept: text/event-stream'),
        ('GET /v2/queues/q', f'Accept: {"a/b," * 51}*/*'),
        ('GET /v2/queues/q/messages', 'Origin: http://a'),
        ('GET /v2/queues/q/messages', 'URL-Signature: a'),
        ('GET /v2/queues/q/messages?url_signature=a', 'Accept: */*'),
    ],
)
def test_others_do_not(line: str, header: str) -> None:
    assert not request_greenlets.fits(request(line, header))


def test_nor_do_long_bodies_many_messages_or_those_that_are_refused() -> None:
    line = 'POST /v2/queues/q/messages'
    most = requests_fit_for_event_loop.LONGEST_BODY
    assert request_greenlets.fits(request(line, body=bytes(most)))
    assert not request_greenlets.fits(request(line, body=bytes(most + 1)))
    # Each takes some 4 microseconds, 12 if it is encrypted.
    bodies = [b'{"messages":[%b]}' % (b'{"body":0},' * n) for n in (63, 64)]
    assert request_greenlets.fits(request(line, body=bodies[0]))
    assert not request_greenlets.fits(request(line, body=bodies[1]))
    refused = request(line)
    refused.body = InvalidBody('no')
    assert not request_greenlets.fits(refused)


def _fail() -> None:
    raise RuntimeError


class Answers:
    """Requests that note their names; two are under way at a time."""

    def __init__(self, greenlets: Greenlets) -> None:
        self._greenlets = greenlets
        self.threads = RequestThreads(1)
        self.all = RequestGreenlets(greenlets.hub, 2, self.threads)
        self.begun: list[str] = []
        self.done: list[str] = []
        self.under_way = self.most = 0

    def put(
        self, *names: str, wait: bool = True, until_idle: bool = True
    ) -> None:
        """Have requests answered, each of the project that it begins with."""

        def put() -> None:
            for name in names:
                assert self.all.put(
                    self._work(name, wait=wait),
                    owner=lambda name=name: name[0],
                    request=request(),
                )

        self._greenlets.loop.call_soon(put)
        while len(self.done) < len(names) or not (
            self.all.are_idle or not until_idle
        ):
            self._greenlets.run(lambda: None)

    def _work(self, name: str, *, wait: bool) -> Callable[[], None]:
        def work() -> None:
            self.begun.append(name)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            if wait:
                offload(int)
            self.under_way -= 1
            self.done.append(name)

        return work


def test_so_many_are_under_way(greenlets: Greenlets) -> None:
    answers = Answers(greenlets)
    answers.put('a0', 'b0', 'c0', 'd0', 'e0')
    assert sorted(answers.done) == ['a0', 'b0', 'c0', 'd0', 'e0']
    assert answers.most == 2


def test_projects_take_turns(greenlets: Greenlets) -> None:
    answers = Answers(greenlets)
    answers.put('x0', 'x1', 'a0', 'a1', 'a2', 'b0', 'c0', 'b1')
    assert answers.begun == [
        *('x0', 'x1', 'a0', 'b0', 'c0', 'a1', 'b1', 'a2'),
    ]


def test_a_failure_makes_room_for_the_next(
    greenlets: Greenlets, caplog: pytest.LogCaptureFixture
) -> None:
    answers = Answers(greenlets)

    def put() -> None:
        for _ in range(2):
            answers.all.put(_fail, request=request())

    greenlets.loop.call_soon(put)
    answers.put('a', 'b', wait=False)
    assert answers.done == ['a', 'b']
    assert 'A request failed' in caplog.text


def test_who_waits_for_a_silent_store_takes_no_place(
    greenlets: Greenlets,
) -> None:
    answers = Answers(greenlets)
    event = threading.Event()
    ended: list[str] = []

    def wait() -> None:
        offload_to('store', event.wait, 60)
        ended.append('waited')

    def put() -> None:
        for _ in range(5):
            assert answers.all.put(wait, owner=lambda: 'x', request=request())

    greenlets.loop.call_soon(put)
    answers.put('a0', 'b0', until_idle=False)
    assert sorted(answers.done) == ['a0', 'b0']
    assert ended == []
    # They count as work that is under way, nevertheless.
    assert not answers.all.are_idle
    event.set()
    answers.put('c0')
    assert len(ended) == 5


def test_bytes_that_wait_for_threads_count_as_well(
    greenlets: Greenlets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        requests_waiting_for_thread_or_greenlet, 'MAX_WAITING_BYTES', 10
    )
    answers = Answers(greenlets)
    event = threading.Event()

    def put(size: int, line: str) -> bool:
        return answers.all.put(
            lambda: offload(event.wait, 60),
            size=lambda: size,
            owner=lambda: 'x',
            request=request(line),
        )

    def put_all() -> Sequence[bool]:
        in_threads, in_loop = 'GET /v2/queues', 'GET /v2/queues/q'
        # The first ones do not wait.
        begun = [put(6, in_threads), put(6, in_loop), put(6, in_loop)]
        assert begun == [True] * 3
        waiting = [put(6, in_threads), put(6, in_loop), put(4, in_loop)]
        event.set()
        return waiting

    results: list[Sequence[bool]] = []
    greenlets.loop.call_soon(lambda: results.append(put_all()))
    greenlets.run(lambda: None)
    while not answers.all.are_idle:
        answers.threads.work(waits=False)
        greenlets.run(lambda: None)
    assert results == [[True, False, True]]


def test_threads_have_the_rest(greenlets: Greenlets) -> None:
    answers = Answers(greenlets)
    done: list[str] = []
    assert answers.all.put(
        lambda: done.append('put'), request=request('GET /v2/queues')
    )
    answers.all.put_woken(lambda: done.append('woken'))
    assert not answers.all.are_idle
    assert done == []
    assert answers.threads.work(waits=False)
    assert done == ['put', 'woken']
    assert answers.all.are_idle
