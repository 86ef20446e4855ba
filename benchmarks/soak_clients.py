# SPDX-License-Identifier: Apache-2.0
"""Clients of the soak: post during kills, then list the queue."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.ledger import Listed, Outcome, Post

#: Threads that post, each on a connection of its own.
POSTERS = 8

#: Messages of a post, at most: to see that it is stored as a whole.
MOST_MESSAGES = 3

#: Seconds for an answer, and for a server to come back.
PATIENCE = 60.0

#: Letters that make a message as long as messages usually are.
PADDING = '.' * 80

_HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'Content-Type': 'application/json',
}


class UnexpectedAnswerError(Exception):
    """The service said what it never should."""


class Client:
    """One kept-alive connection, made anew after it has ended."""

    def __init__(self, port: int, project: str) -> None:
        self._headers = {**_HEADERS, 'X-Project-ID': project}
        self._connection = http.client.HTTPConnection(
            '127.0.0.1', port, timeout=PATIENCE
        )

    def connect(self) -> None:
        """Be connected, for which nothing is sent.

        :raises UnexpectedAnswerError: nobody listens for too long
        """
        end = time.monotonic() + PATIENCE
        while self._connection.sock is None:
            try:
                self._connection.connect()
            except OSError as error:
                if time.monotonic() > end:
                    raise UnexpectedAnswerError(
                        f'nobody listens for {PATIENCE:.0f} s: {error}'
                    ) from None
                time.sleep(0.02)

    def try_once(
        self, method: str, path: str, document: Any = None
    ) -> tuple[int, Any] | None:
        """Send a request, once.

        :returns: status and document; None when no whole answer came
        """
        self.connect()
        body = None if document is None else json.dumps(document)
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        return answer.status, json.loads(text) if text else None

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """Send a request to servers that nobody kills.

        :raises UnexpectedAnswerError: they do not do it
        """
        answer = self.try_once(method, path, document)
        if answer is None or answer[0] >= 300:
            raise UnexpectedAnswerError(f'{method} {path}: {answer}')
        return answer[1]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Posting:
    """A number of posts to one queue, by several threads.

    :ivar posts: what was posted, in the order of answers
    :ivar faults: what should not have happened
    """

    def __init__(
        self, port: int, project: str, queue: str, count: int, seed: int
    ) -> None:
        self.posts: list[Post] = []
        self.faults: list[str] = []
        self._port = port
        self._project = project
        self._queue = queue
        self._numbers = iter(range(count))
        self._seed = seed
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(poster,))
            for poster in range(POSTERS)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Return when so many posts have ended, or all that can."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self.posts) >= count or bool(self.faults)
            )

    def join(self) -> None:
        """Return when all posts have ended."""
        for thread in self._threads:
            thread.join()

    def _run(self, poster: int) -> None:
        client = Client(self._port, self._project)
        dice = random.Random(f'{self._seed} {self._queue} {poster}')
        try:
            while (number := self._next()) is not None:
                count = dice.randint(1, MOST_MESSAGES)
                bodies = [
                    f'{self._queue} {number} {part} {PADDING}'
                    for part in range(count)
                ]
                self._note(_post(client, self._queue, poster, bodies))
        except UnexpectedAnswerError as error:
            with self._changed:
                self.faults.append(str(error))
                self._changed.notify_all()
        finally:
            client.close()

    def _next(self) -> int | None:
        with self._changed:
            return next(self._numbers, None)

    def _note(self, post: Post) -> None:
        with self._changed:
            self.posts.append(post)
            self._changed.notify_all()


def _post(
    client: Client, queue: str, poster: int, bodies: Sequence[str]
) -> Post:
    """Post once.

    :raises UnexpectedAnswerError: neither done nor out of service
    """
    document = {'messages': [{'body': body, 'ttl': 86400} for body in bodies]}
    path = f'/v2/queues/{queue}/messages'
    answer = client.try_once('POST', path, document)
    if answer is None or answer[0] == 503:
        return Post(poster, bodies, Outcome.UNKNOWN)
    status, document = answer
    if status != 201:
        raise UnexpectedAnswerError(f'POST {path}: {status} {document}')
    ids = [link.rpartition('/')[2] for link in document['resources']]
    return Post(poster, bodies, Outcome.ACKNOWLEDGED, ids)


def listing(client: Client, queue: str, most: int) -> list[Listed]:
    """Return a whole queue, page by page.

    :param most: messages after which it must have ended
    :raises UnexpectedAnswerError: it does not end, or a page fails
    """
    path = f'/v2/queues/{queue}/messages?limit=20&echo=true'
    path += '&include_claimed=true'
    messages: list[Listed] = []
    while path:
        page: Mapping[str, Any] = client.ask('GET', path)
        messages += [Listed(m['id'], m['body']) for m in page['messages']]
        if len(messages) > most:
            raise UnexpectedAnswerError(f'the listing of {queue} does not end')
        path = page['links'][0]['href'] if page['links'] else ''
    return messages


def work(client: Client, queue: str, count: int) -> None:
    """Post, claim and delete, over and over: no queue gets longer.

    :raises UnexpectedAnswerError: something fails
    """
    path = f'/v2/queues/{queue}'
    for number in range(count):
        body = f'{queue} {number} {PADDING}'
        document = {'messages': [{'body': body, 'ttl': 86400}]}
        client.ask('POST', f'{path}/messages', document)
        claim = client.ask('POST', f'{path}/claims?limit=5', {'ttl': 300})
        for message in claim['messages']:
            client.ask('DELETE', message['href'])
