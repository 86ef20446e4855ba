# SPDX-License-Identifier: Apache-2.0
"""Consumers that wait for messages whatever happens, and keep books."""

from __future__ import annotations

import abc
import collections
import functools
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Self

import requests
import websocket

from benchmarks import target
from zaqar import service_assembly
from zaqar.objects import Scope
from zaqar.tests.functional.websocket.client import Closed, Talk
from zaqar.tests.servers.zaqar import Zaqar

QUEUE = 'q'

#: Seconds for which claims wait, and last.
WAIT = 20
TTL = 60

#: Seconds after which whatever has not come is missed.
PATIENCE = 90.0

#: Seconds between two attempts of a client.
PAUSE = 0.05

#: The body that ends a consumer.
_LAST = 'last'

_VERSION = {'OpenStack-API-Version': 'messaging 2.1'}

#: What clients see of a server that is killed.
BROKEN = (OSError, websocket.WebSocketException, Closed)


class Client(abc.ABC):
    """A client that claims one message at a time."""

    @abc.abstractmethod
    def claim(self) -> tuple[int, Any]:
        """Wait for a message; return the status and the message."""

    @abc.abstractmethod
    def delete(self, message: Any) -> int:
        """Delete it; return the status."""


class HttpClient(Client):
    """Has a connection for each request, hence to any worker."""

    def __init__(self, server: Zaqar, project: str, claims_at: str) -> None:
        self._claims = f'{claims_at}/v2/queues/{QUEUE}/claims?limit=1'
        self._url = server.url
        self._headers = _headers(project)

    def claim(self) -> tuple[int, Any]:
        answer = requests.post(
            f'{self._claims}&wait={WAIT}',
            json={'ttl': TTL, 'grace': TTL},
            headers=self._headers,
            timeout=PATIENCE,
        )
        if answer.status_code != 201:
            return answer.status_code, None
        return 201, answer.json()['messages'][0]

    def delete(self, message: Any) -> int:
        return requests.delete(
            self._url + message['href'],
            headers=self._headers,
            timeout=PATIENCE,
        ).status_code


class FrameClient(Client):
    """Has one WebSocket, and another one when that is closed."""

    def __init__(self, server: Zaqar, project: str) -> None:
        self._url = server.socket_url
        self._project = project
        self._talk: Talk | None = None

    def claim(self) -> tuple[int, Any]:
        body = {'queue_name': QUEUE, 'limit': 1, 'wait': WAIT}
        said = self._ask('claim_create', ttl=TTL, grace=TTL, **body)
        if said.status != 201:
            return said.status, None
        claim_id = said.body['claim_id']
        return 201, {**said.body['messages'][0], 'claim_id': claim_id}

    def delete(self, message: Any) -> int:
        ids = {'message_id': message['id'], 'claim_id': message['claim_id']}
        return self._ask('message_delete', queue_name=QUEUE, **ids).status

    def _ask(self, action: str, **body: Any) -> Any:
        if self._talk is None:
            self._talk = Talk(self._url, self._project)
        try:
            headers = {**_VERSION, 'request_id': 1}
            return self._talk.ask(action, body, headers)
        except BROKEN:
            self._talk = None
            raise


class Consumers:
    """Clients that claim and delete messages, each in a thread.

    :param make: makes a client of a server, for a project
    :ivar received: bodies
    :ivar statuses: of claims, 0 for those whose connection broke
    """

    def __init__(
        self, server: Zaqar, make: Callable[[Zaqar, str], Client], count: int
    ) -> None:
        self._server = server
        self._project = secrets.token_hex(8)
        self._posted: list[int] = []
        self._doubtful: list[int] = []
        self.received: list[Any] = []
        self.statuses: collections.Counter[int] = collections.Counter()
        self._threads = [
            threading.Thread(
                target=self._consume,
                args=(make(server, self._project),),
                daemon=True,
            )
            for _ in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            for _ in self._threads:
                self._insist(lambda: self._post(_LAST))
            end = time.monotonic() + PATIENCE
            for thread in self._threads:
                thread.join(max(0.0, end - time.monotonic()))
            assert not any(one.is_alive() for one in self._threads)

    def post(self, count: int) -> None:
        """Post messages one by one; of some the outcome may be unknown."""
        for _ in range(count):
            number = len(self._posted) + len(self._doubtful)
            try:
                is_posted = self._post(number) == 201
            except BROKEN:
                is_posted = False
            (self._posted if is_posted else self._doubtful).append(number)

    def post_acknowledged(self) -> None:
        """Post until that is acknowledged."""
        wanted = len(self._posted) + 1
        end = time.monotonic() + PATIENCE
        while len(self._posted) < wanted:
            assert time.monotonic() < end, 'no post is acknowledged'
            self.post(1)
            time.sleep(PAUSE)

    def wait_until_received(self) -> None:
        """Return when a message has been received."""
        end = time.monotonic() + PATIENCE
        while not self.received:
            assert time.monotonic() < end, 'no message is received'
            time.sleep(PAUSE)

    def check(self) -> None:
        """Each message was received once, or is free when its claim ends."""
        left = self._left()
        numbers = collections.Counter([*self.received, *left])
        assert set(numbers.values()) == {1}, (self.received, left)
        lost = {*self._posted} - {*numbers}
        assert not lost, (lost, self.received, left, self.statuses)
        assert set(numbers) <= {*self._posted, *self._doubtful}
        # Each was on its way to a client that has not got its answer.
        assert len(left) <= self.statuses[0] + self.statuses[503]
        assert set(self.statuses) <= {0, 201, 204, 503}

    def _left(self) -> Sequence[Any]:
        """Return what can be claimed when all claims have ended."""
        conf = target.configuration([f'--config-file={self._server.conf}'])
        service = service_assembly.Service(conf)
        try:
            catalogue = service.catalogue
            queue = catalogue.ensure(Scope(self._project, QUEUE))
            store = catalogue.store(queue)
            claim = store.claim(
                queue.qid,
                now=store.clock.now() + 1000 * (TTL + 1),
                claim_id=secrets.token_hex(16),
                ttl=TTL,
                grace=TTL,
                limit=1000,
            )
            messages = claim.messages if claim else ()
            return [int(bytes(message.body)) for message in messages]
        finally:
            service.close()

    def _post(self, body: Any) -> int:
        return requests.post(
            f'{self._server.url}/v2/queues/{QUEUE}/messages',
            json={'messages': [{'body': body}]},
            headers=_headers(self._project),
            timeout=PATIENCE,
        ).status_code

    def _consume(self, client: Client) -> None:
        body = None
        while body != _LAST:
            try:
                status, message = client.claim()
            except BROKEN:
                status, message = 0, None
            self.statuses[status] += 1
            if message is None:
                time.sleep(PAUSE)
                continue
            body = message['body']
            if body != _LAST:
                self.received.append(body)
            self._insist(functools.partial(client.delete, message))

    def _insist(self, call: Callable[[], int]) -> None:
        """Repeat a call until it succeeds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if call() < 300:
                    return
            except BROKEN:
                pass
            time.sleep(PAUSE)
        raise AssertionError('a call never succeeds')


def _headers(project: str) -> dict[str, str]:
    return {
        **_VERSION,
        'Client-ID': str(uuid.uuid4()),
        'X-Project-ID': project,
    }
