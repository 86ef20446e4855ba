# SPDX-License-Identifier: Apache-2.0
"""Clients of the service that go on through whatever happens."""

from __future__ import annotations

import contextlib
import functools
import http.client
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from benchmarks import ledger
from zaqar.tests.functional.cluster.history import History, Verdict
from zaqar.tests.servers.receivers import Receiver
from zaqar.tests.servers.zaqar import Zaqar

#: Seconds for which clients go on asking, and for what must come at last.
PATIENCE = 60.0

#: Seconds between a refusal and the next try.
PAUSE = 0.05

#: Seconds that a write to a node may take, for it to count as writable.
WRITABLE = 1.0

KEPT, TAKEN = 'kept', 'taken'

_HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'Content-Type': 'application/json',
}

_LIST = 'limit=20&echo=true&include_claimed=true'

Document = Any
Write = Callable[[], object]


class Client:
    """Kept-alive connections of which each answer is noted.

    :param ports: of the server that is used and of one that knows of what
        was done there by the database alone
    """

    def __init__(
        self, ports: Sequence[int], project: str, history: History
    ) -> None:
        self._headers = {**_HEADERS, 'X-Project-ID': project}
        self._history = history
        self._connections = [
            http.client.HTTPConnection('127.0.0.1', port, timeout=PATIENCE)
            for port in ports
        ]

    def ask(
        self,
        method: str,
        path: str,
        document: Document = None,
        *,
        elsewhere: bool = False,
    ) -> tuple[int, Document]:
        """Send a request; return status and document, 0 for no answer.

        :param elsewhere: send it to the other server
        """
        connection = self._connections[elsewhere]
        body = None if document is None else json.dumps(document)
        begin = time.monotonic()
        status, text = 0, b''
        # As clients do: the server may have closed the connection meanwhile.
        for _ in range(2 if method == 'GET' else 1):
            try:
                connection.request(method, f'/v2/{path}', body, self._headers)
                answer = connection.getresponse()
                text = answer.read()
                status = answer.status
                break
            except (OSError, http.client.HTTPException):
                connection.close()
        self._history.note(begin, f'{method} {path}', status)
        return status, json.loads(text) if text else None

    def insist(
        self,
        method: str,
        path: str,
        document: Document = None,
        *,
        elsewhere: bool = False,
    ) -> tuple[int, Document]:
        """Send a request until it is answered."""
        end = time.monotonic() + PATIENCE
        while True:
            status, answer = self.ask(
                method, path, document, elsewhere=elsewhere
            )
            if 0 < status < 500:
                return status, answer
            assert time.monotonic() < end, f'{method} {path}: {status}'
            time.sleep(PAUSE)

    def close(self) -> None:
        """End the connections."""
        for connection in self._connections:
            connection.close()


@dataclass
class _Restless:
    """A queue that one client subscribes to while another one posts there.

    :ivar queue: its name; another queue follows
    """

    queue: str


#: Does something once, and tells whether to go on at once.
Work = Callable[[Client], bool]


class Load:
    """Posters, a reader, claimers, and who subscribes and edits.

    What is acknowledged by one server is read, and notified of, by the other.

    :param servers: two that share the database
    :param writes: writes to a node each, to know whether there is one that
        takes writes; they raise or are slow where it does not
    :param subscribers: how many subscribe at the same time
    """

    def __init__(
        self,
        servers: Sequence[Zaqar],
        writes: Sequence[Write],
        subscribers: int = 1,
    ) -> None:
        self.history = History()
        self._project = f'cluster-{secrets.token_hex(6)}'
        self._servers = servers
        self._receiver = Receiver()
        self._ended = threading.Event()
        self._numbers = itertools.count()
        self._errors: list[BaseException] = []
        self._place = f'queues/{KEPT}/messages?{_LIST}'
        self._awaited: dict[str, str] = {}
        self._writes: list[float] = []
        works: Sequence[Work] = [
            *(self._post, self._post, self._follow),
            *(self._offer, self._offer, self._claim, self._claim),
            *(self._edit, *self._subscribers(subscribers)),
        ]
        self._clients = [self._client() for _ in works]
        self._threads = [
            threading.Thread(target=self._run, args=(work, client))
            for work, client in zip(works, self._clients, strict=True)
        ]
        self._threads += [
            threading.Thread(target=self._watch, args=(write,))
            for write in writes
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Return when so much more of each kind has been done."""
        begin = self._done()
        self.wait_until(
            lambda: all(
                now >= before + more
                for now, before in zip(self._done(), begin, strict=True)
            ),
            PATIENCE + more,
        )

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """There is no database for this while, however short."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.history.outages.append((begin, time.monotonic()))

    def wait_for_refusal(self) -> None:
        """Return when a request has found no database."""
        begin = time.monotonic()
        self.wait_until(
            lambda: any(
                answer.status == 503 and answer.end > begin
                for answer in reversed(self.history.answers[-100:])
            )
        )

    def wait_until(
        self, condition: Callable[[], bool], patience: float = PATIENCE
    ) -> None:
        """Return when something has happened while all work."""
        end = time.monotonic() + patience
        while not condition():
            if self._errors:
                raise self._errors[0]
            assert time.monotonic() < end, f'nothing happens: {self._done()}'
            time.sleep(0.05)

    def verdict(self, *, patient: bool = False) -> Verdict:
        """Look at what there is in the end, and judge.

        :param patient: wait for every notification, of which those that a
            fault has interrupted are repeated after a minute
        """
        if self._errors:
            raise self._errors[0]
        history, client = self.history, self._clients[0]
        while self._follow(client):
            pass
        self._await_notifications(client, patient)
        listing = self._list(client, KEPT)
        rest = [item.body for item in self._list(client, TAKEN)]
        history.undone += sorted(set(history.deleted) & set(rest))
        history.outages += _gaps(sorted(self._writes))
        self._receiver.stop()
        for client in self._clients:
            client.close()
        return history.judge(listing, rest)

    def _done(self) -> Sequence[int]:
        history = self.history
        return (
            sum(
                post.outcome is ledger.Outcome.ACKNOWLEDGED
                for post in history.posts
            ),
            history.reads,
            len(history.deleted),
            len(history.subscriptions),
        )

    def _client(self) -> Client:
        ports = [server.port for server in self._servers]
        if next(self._numbers) % 2:
            ports.reverse()
        return Client(ports, self._project, self.history)

    def _run(self, work: Work, client: Client) -> None:
        try:
            while not self._ended.is_set():
                if not work(client):
                    time.sleep(PAUSE)
        except BaseException as error:
            self._errors.append(error)

    def _watch(self, write: Write) -> None:
        while not self._ended.is_set():
            begin = time.monotonic()
            with contextlib.suppress(Exception):
                write()
                end = time.monotonic()
                if end - begin < WRITABLE:
                    self._writes.append(end)
            self._ended.wait(0.2)

    def _read(
        self, client: Client, path: str, wanted: Callable[[Document], bool]
    ) -> None:
        """See that what has been acknowledged can be read."""
        status, answer = client.ask('GET', path, elsewhere=True)
        if not 0 < status < 500:
            return
        is_stale = status != 200 or not wanted(answer)
        self.history.note_read(f'GET {path}: {status}', is_stale)

    # What is posted and listed, and never deleted.

    def _post(self, client: Client) -> bool:
        number = next(self._numbers)
        bodies = [f'{KEPT} {number} {part}' for part in range(number % 3 + 1)]
        status, answer = client.ask(
            'POST', f'queues/{KEPT}/messages', _messages(bodies)
        )
        poster = id(client)
        if status != 201:
            self.history.posts.append(
                ledger.Post(poster, bodies, ledger.Outcome.UNKNOWN)
            )
            return False
        ids = [link.rpartition('/')[2] for link in answer['resources']]
        self.history.posts.append(
            ledger.Post(poster, bodies, ledger.Outcome.ACKNOWLEDGED, ids)
        )
        self._read(
            client,
            f'queues/{KEPT}/messages/{ids[0]}',
            lambda message: message['body'] == bodies[0],
        )
        return True

    def _follow(self, client: Client) -> bool:
        """Read the next page; tell whether there was anything on it."""
        status, page = client.ask('GET', self._place)
        if status != 200 or not page['messages']:
            # To be asked again in the end.
            return not 0 < status < 500 and self._ended.is_set()
        self.history.followed += [m['body'] for m in page['messages']]
        self._place = page['links'][0]['href'].removeprefix('/v2/')
        return True

    def _list(self, client: Client, queue: str) -> list[ledger.Listed]:
        """Return all of a queue."""
        listed: list[ledger.Listed] = []
        path = f'queues/{queue}/messages?{_LIST}'
        while True:
            _, page = client.insist('GET', path)
            if not page['messages']:
                return listed
            listed += [
                ledger.Listed(m['id'], m['body']) for m in page['messages']
            ]
            path = page['links'][0]['href'].removeprefix('/v2/')

    # What is claimed and deleted.

    def _offer(self, client: Client) -> bool:
        if len(self.history.posted) > len(self.history.claimed) + 200:
            return False
        body = f'{TAKEN} {next(self._numbers)}'
        status, _ = client.ask(
            'POST', f'queues/{TAKEN}/messages', _messages([body])
        )
        if status == 201:
            self.history.posted.append(body)
        return status == 201

    def _claim(self, client: Client) -> bool:
        status, claim = client.ask(
            'POST',
            f'queues/{TAKEN}/claims?limit=3',
            {'ttl': 3600, 'grace': 60},
        )
        if status != 201:
            return False
        messages = claim['messages']
        self.history.claimed += [message['body'] for message in messages]
        for message in messages:
            path = message['href'].removeprefix('/v2/')
            status, _ = client.insist('DELETE', path)
            if status != 204:
                self.history.stale.append(f'DELETE {path}: {status}')
                continue
            self.history.deleted.append(message['body'])
            self._read_deleted(client, path.partition('?')[0])
        return True

    def _read_deleted(self, client: Client, path: str) -> None:
        status, _ = client.ask('GET', path, elsewhere=True)
        if not 0 < status < 500:
            return
        self.history.note_read(
            f'GET {path} when deleted: {status}', status != 404
        )

    # Subscriptions that begin while messages are posted.

    def _subscribers(self, count: int) -> Iterator[Work]:
        for _ in range(count):
            restless = _Restless(self._restless_name())
            yield functools.partial(self._subscribe, restless)
            yield functools.partial(self._disturb, restless)

    def _restless_name(self) -> str:
        return f'restless-{next(self._numbers)}'

    def _subscribe(self, restless: _Restless, client: Client) -> bool:
        queue = restless.queue
        if (
            client.ask('POST', f'queues/{queue}/messages', _messages(['a']))[0]
            != 201
        ):
            return False
        status, answer = client.ask(
            'POST',
            f'queues/{queue}/subscriptions',
            {'subscriber': f'{self._receiver.url}/{queue}', 'ttl': 86400},
        )
        if status == 201:
            body = f'{queue} is heard'
            client.insist(
                'POST',
                f'queues/{queue}/messages',
                _messages([body]),
                elsewhere=True,
            )
            self._awaited[queue] = body
            self.history.subscriptions.append(queue)
            self._read(
                client,
                f'queues/{queue}/subscriptions/{answer["subscription_id"]}',
                lambda subscription: subscription['source'] == queue,
            )
        restless.queue = self._restless_name()
        return status == 201

    def _disturb(self, restless: _Restless, client: Client) -> bool:
        path = f'queues/{restless.queue}/messages'
        client.ask('POST', path, _messages(['b']))
        return False

    def _await_notifications(self, client: Client, patient: bool) -> None:
        """Return when each subscription was notified, or never will be."""
        self._await_heard(PATIENCE / 6)
        missing = self._missing()
        if not patient:
            # What was being notified of in the fault is repeated a minute
            # later; whether it is heard of anything is known sooner.
            for queue in missing:
                body = self._awaited[queue] = f'{queue} is heard again'
                path = f'queues/{queue}/messages'
                client.insist('POST', path, _messages([body]))
        if missing:
            self._await_heard(2 * PATIENCE)
        self.history.silenced += sorted(self._missing())

    def _await_heard(self, patience: float) -> None:
        end = time.monotonic() + patience
        while self._missing() and time.monotonic() < end:
            time.sleep(0.1)

    def _missing(self) -> set[str]:
        heard = {got.json['body'] for got in list(self._receiver.got)}
        return {
            queue for queue, body in self._awaited.items() if body not in heard
        }

    # Metadata.

    def _edit(self, client: Client) -> bool:
        number = next(self._numbers)
        path = f'queues/edited-{number}'
        status, _ = client.ask('PUT', path, {'number': number})
        if status != 201:
            return False
        self._read(client, path, lambda queue: queue.get('number') == number)
        return True


def _messages(bodies: Sequence[str]) -> Document:
    return {'messages': [{'body': body, 'ttl': 86400} for body in bodies]}


def _gaps(moments: Sequence[float]) -> list[tuple[float, float]]:
    return [
        (before, after)
        for before, after in itertools.pairwise(moments)
        if after - before > WRITABLE
    ]
