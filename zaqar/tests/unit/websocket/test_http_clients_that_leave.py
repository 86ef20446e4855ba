# SPDX-License-Identifier: Apache-2.0
"""HTTP requests beside WebSockets: whose clients leave, and who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import h11
import pytest

from zaqar.objects import Scope
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import TURN, Turn
from zaqar.transport.websocket.api_requests_over_http import HttpRequests
from zaqar.transport.wsgi_types import Environ, StartResponse
from zaqar.waiting.waiters import Waiters

SCOPE = Scope('p', 'q')

REQUEST = h11.Request(
    method='POST', target='/v2/queues/q/claims', headers=[('Host', 'x')]
)


class Observer:
    def begin(self, scope: Scope) -> None: ...

    def end(self, scope: Scope) -> None: ...

    def expire_at(self, until: float) -> None: ...


class Client:
    """Notes whom its answers are for."""

    peer = '127.0.0.1'
    is_lost = False

    def __init__(self) -> None:
        self.projects: list[str] = []

    def note(self, project: str) -> None:
        self.projects.append(project)


class Server:
    """Answers no request before it is told to."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.work: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.waiters = Waiters(Observer())
        self.answers: list[int] = []
        self.app: Callable[[Turn], object] = lambda turn: None
        workers: Any = self
        streams: Any = None
        self.requests = HttpRequests(
            self._call, workers, Turns(), loop, 1000, '', streams
        )

    def submit(
        self, work: Callable[[], Any], done: Callable[[Any], None], owner: str
    ) -> None:
        self.work.append((work, done))

    def _call(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        turn = environ[TURN]
        turn.begin('claim_create', 'p')
        self.app(turn)
        start('204 No Content', [])
        return [b'']

    def wait(self, turn: Turn) -> None:
        """Postpone a request that got nothing."""
        ticket = self.waiters.enter(SCOPE, takes=True, seconds=60)
        assert turn.may_wait()
        assert ticket.emptied(None)
        turn.postpone(ticket)

    def send(self, client: Any) -> Callable[[], None]:
        return self.requests.handle(
            client,
            REQUEST,
            b'',
            lambda status, *_: self.answers.append(status),
        )

    def run(self) -> None:
        for work, done in self.work:
            done(work())


@pytest.fixture
def server() -> Iterator[Server]:
    loop = asyncio.new_event_loop()
    yield Server(loop)
    loop.close()


def test_a_client_that_leaves_before_its_request_waits(server: Server) -> None:
    server.app = server.wait
    client = Client()
    left = server.send(client)
    client.is_lost = True
    left()
    server.run()
    assert len(server.waiters) == 0


def test_an_answer_proves_nothing_of_a_client_that_has_left(
    server: Server,
) -> None:
    # Its connection is no longer counted.
    client = Client()
    left = server.send(client)
    client.is_lost = True
    left()
    server.run()
    assert client.projects == []


def test_one_that_stays_is_answered(server: Server) -> None:
    client = Client()
    server.send(client)
    server.run()
    assert (client.projects, server.answers) == (['p'], [204])


def test_one_that_waits_is_no_stranger_meanwhile(server: Server) -> None:
    # Few unauthenticated connections of an address are admitted.
    server.app = server.wait
    client = Client()
    server.send(client)
    server.run()
    assert (client.projects, server.answers) == (['p'], [])
