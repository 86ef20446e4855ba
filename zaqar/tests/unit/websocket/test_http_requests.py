# SPDX-License-Identifier: Apache-2.0
"""HTTP requests beside WebSockets that begin a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import h11
import pytest

from zaqar.controllers.streams import StreamStart
from zaqar.tests.unit.websocket.test_server_sent_event_streams import (
    FIRST,
    SOURCE,
    House,
)
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.websocket.api_requests_over_http import HttpRequests
from zaqar.transport.wsgi.event_stream_requests import HANDOVER
from zaqar.transport.wsgi.responses import Headers

GET = h11.Request(
    method='GET', target='/v2/queues/q/messages', headers=[('Host', 'x')]
)


class Workers:
    """Threads that work when they are told to."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def submit(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None],
        owner: str = '',
    ) -> None:
        self.work.append(lambda: done(work()))

    def finish(self) -> None:
        self.work.pop()()


class Client:
    peer = '127.0.0.1'

    def __init__(self) -> None:
        self.is_lost = False
        self.answers: list[int] = []
        self.parts: list[bytes] = []

    def note(self, project: str) -> None: ...

    def answer(self, status: int, headers: Headers, content: bytes) -> None:
        self.answers.append(status)

    def begin(self, status: int, headers: Headers, stream: Any) -> None:
        self.answers.append(status)

    def send_event(self, data: bytes) -> None:
        self.parts.append(data)

    def finish(self) -> None: ...


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    environ[HANDOVER].start = StreamStart(SOURCE, '7', '', None)
    start('200 OK', [])
    return []


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def requests(house: House, workers: Workers) -> HttpRequests:
    return HttpRequests(
        app,
        workers,  # type: ignore[arg-type]
        Turns(),
        house,  # type: ignore[arg-type]
        1000,
        '',
        house.streams,
    )


def test_a_stream_is_begun_and_ends_with_its_client(
    house: House, workers: Workers, requests: HttpRequests
) -> None:
    client = Client()
    left = requests.handle(client, GET, b'', client.answer)
    workers.finish()
    assert client.answers == [200]
    assert client.parts == [FIRST]
    assert len(house.followers) == 1
    left()
    assert not house.followers


def test_no_stream_is_begun_for_a_client_that_has_gone(
    house: House, workers: Workers, requests: HttpRequests
) -> None:
    client = Client()
    left = requests.handle(client, GET, b'', client.answer)
    client.is_lost = True
    left()
    workers.finish()
    assert not client.answers and not house.followers
