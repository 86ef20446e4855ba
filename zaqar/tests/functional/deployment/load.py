# SPDX-License-Identifier: Apache-2.0
"""Clients that use a service while something happens to it."""

from __future__ import annotations

import collections
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import requests

HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'p',
}

#: Messages that producers are ahead of consumers: who is faster by far leaves
#: minutes of work for the end.
MOST_AHEAD = 500

_WAITING = {'OpenStack-API-Version': 'messaging 2.1'}


class Load:
    """Producers and consumers; what fails is counted, and tried once only.

    A producer posts one message at a time to a queue. A consumer claims some
    and deletes each.

    :param origin: returns where to send the next request
    :param wait: seconds for which a claim waits for messages
    :ivar posted: bodies that were acknowledged
    :ivar claimed: bodies that were handed out, as often as they were
    :ivar taken: bodies that were claimed and deleted, both acknowledged
    :ivar doubtful: bodies whose post or deletion failed
    :ivar failed: answers other than those wanted, by what they are
    """

    def __init__(
        self,
        origin: Callable[[], str],
        *,
        producers: int = 3,
        consumers: int = 2,
        queue: str = 'q',
        wait: int = 0,
    ) -> None:
        self._origin = origin
        self._path = f'/v2/queues/{queue}'
        self._wait = f'&wait={wait}' if wait else ''
        self._headers = HEADERS | (_WAITING if wait else {})
        self.posted: list[str] = []
        self.claimed: list[str] = []
        self.doubtful: set[str] = set()
        self.taken: list[str] = []
        self.failed: collections.Counter[str] = collections.Counter()
        self.clients = producers + consumers
        self._ended = threading.Event()
        works = [self._produce] * producers + [self._consume] * consumers
        self._threads = [threading.Thread(target=work) for work in works]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: Any) -> None:
        self.end()

    def end(self) -> None:
        """Return when all requests under way are answered."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, more: int = 50, patience: float = 60.0) -> bool:
        """Tell whether so many more posts and some claims succeed."""
        posts, takes = len(self.posted) + more, len(self.taken) + more // 10
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if len(self.posted) >= posts and len(self.taken) >= takes:
                return True
            time.sleep(0.02)
        return False

    def drain(self) -> None:
        """Take what is left, with nobody else about."""
        self._wait = ''
        with requests.Session() as session:
            while self._take(session):
                pass

    def left(self) -> list[str]:
        """Return what is there, claimed or not."""
        bodies: list[str] = []
        tail = '/messages?limit=20&echo=true&include_claimed=true'
        with requests.Session() as session:
            while tail:
                answer = self._ask(session, 'GET', tail, 200)
                assert answer is not None, self.failed
                page = answer.json()
                bodies += [one['body'] for one in page['messages']]
                links = page['links'] if page['messages'] else []
                tail = ''.join(
                    one['href'].partition(self._path)[2] for one in links
                )
        return bodies

    def faults(self) -> list[str]:
        """Return what should not be, once all have ended; ask what is left.

        What is claimed here is never free again before the end.
        """
        left = self.left()
        twice = [
            body
            for body, count in collections.Counter(self.claimed).items()
            if count > 1
        ]
        accounted = {*self.posted, *self.doubtful}
        lost = {*self.posted} - {*self.taken, *left} - self.doubtful
        return [
            *(f'{body} was claimed by two' for body in twice),
            *(f'{body} was acknowledged and is lost' for body in lost),
            *(
                f'{body} was never posted'
                for body in {*self.claimed, *left} - accounted
            ),
        ]

    def _produce(self) -> None:
        with requests.Session() as session:
            while not self._ended.is_set():
                if len(self.posted) - len(self.taken) > MOST_AHEAD:
                    time.sleep(0.01)
                    continue
                body = secrets.token_hex(8)
                document = {'messages': [{'body': body, 'ttl': 3600}]}
                if self._ask(session, 'POST', '/messages', 201, document):
                    self.posted.append(body)
                else:
                    self.doubtful.add(body)

    def _consume(self) -> None:
        with requests.Session() as session:
            while not self._ended.is_set():
                self._take(session)

    def _take(self, session: requests.Session) -> int:
        answer = self._ask(
            session,
            'POST',
            f'/claims?limit=5{self._wait}',
            (201, 204),
            {'ttl': 300},
        )
        if answer is None or answer.status_code == 204:
            return 0
        messages = answer.json()['messages']
        self.claimed += [message['body'] for message in messages]
        for message in messages:
            tail = message['href'].partition(self._path)[2]
            if self._ask(session, 'DELETE', tail, 204):
                self.taken.append(message['body'])
            else:
                self.doubtful.add(message['body'])
        return len(messages)

    def _ask(
        self,
        session: requests.Session,
        method: str,
        tail: str,
        wanted: Any,
        document: Any = None,
    ) -> requests.Response | None:
        """Return an answer of a wanted status, else count and return None."""
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        try:
            answer = session.request(
                method,
                self._origin() + self._path + tail,
                json=document,
                headers=self._headers,
                timeout=30,
            )
        except requests.RequestException as error:
            self.failed[f'{method} {type(error).__name__}'] += 1
            return None
        if answer.status_code in wanted:
            return answer
        self.failed[f'{method} {answer.status_code}'] += 1
        return None
