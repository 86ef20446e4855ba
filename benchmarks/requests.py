# SPDX-License-Identifier: Apache-2.0
"""Requests as bytes, built before the measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from benchmarks import floor, target
from benchmarks.load import Step
from zaqar.microversion_constants import V2_1

#: The header of a request in version 2.1.
NEWEST = f'OpenStack-API-Version: {V2_1.header}\r\n'

_HEAD = (
    '{method} {path} HTTP/1.1\r\n'
    'Host: 127.0.0.1\r\n'
    'Accept: application/json\r\n'
    'Client-ID: {client}\r\n'
    'X-Project-ID: {project}\r\n'
)


def request(
    project: str,
    method: str,
    path: str,
    body: bytes = b'',
    *,
    client: str = target.READER,
    headers: str = '',
) -> bytes:
    """Return a request.

    :param headers: lines of further ones
    """
    head = _HEAD.format(
        method=method, path=path, client=client, project=project
    )
    if body:
        head += 'Content-Type: application/json\r\n'
        head += f'Content-Length: {len(body)}\r\n'
    return f'{head}{headers}\r\n'.encode() + body


def step(
    project: str, method: str, path: str, status: int, body: bytes = b''
) -> Step:
    """Return a request and the status of its answer.

    Who posts is another client than who reads.
    """
    is_post = 'messages' in path and body
    client = target.POSTER if is_post else target.READER
    return Step(request(project, method, path, body, client=client), status)


class Queue(Protocol):
    """A queue of a project, and its path under the service's address."""

    project: str
    path: str


class Requests:
    """The requests that one queue is sent.

    :ivar poor: status of a claim that gets nothing, if that is let pass
    """

    poor = 0

    def __init__(self, queue: Queue) -> None:
        self._project = queue.project
        self._path = queue.path

    def post(self, count: int) -> Step:
        """Return a post of some messages."""
        message = b'{"ttl":%d,"body":%b}' % (target.TTL, target.BODY)
        body = b'{"messages":[%b]}' % b','.join([message] * count)
        path = f'{self._path}/messages'
        data = request(self._project, 'POST', path, body, client=target.POSTER)
        return Step(data, 201)

    def list(self, marker: str = '') -> Step:
        """Return a reading of a page."""
        query = f'limit={floor.PAGE}' + (marker and f'&marker={marker}')
        return self._step('GET', f'{self._path}/messages?{query}', 200)

    def get(self, message_id: str) -> Step:
        """Return a reading of one message."""
        return self._step('GET', f'{self._path}/messages/{message_id}', 200)

    def delete(self, message_id: str) -> Step:
        """Return a deletion of a message that nobody has claimed."""
        path = f'{self._path}/messages/{message_id}'
        return self._step('DELETE', path, 204)

    def delete_href(self, href: str) -> Step:
        """Return a deletion of a claimed message, as a claim names it."""
        return self._step('DELETE', href, 204)

    def delete_claimed(self, message: Mapping[str, str]) -> Step:
        """Return a deletion of a message of :meth:`messages`."""
        return self.delete_href(message['href'])

    def messages(self, answer: bytes) -> Sequence[Mapping[str, str]]:
        """Return those of an answer to a claim."""
        return msgspec.json.decode(answer)['messages'] if answer else ()

    def pop(self, count: int) -> Step:
        """Return a pop."""
        path = f'{self._path}/messages?pop={count}'
        return self._step('DELETE', path, 200)

    def claim(self, count: int = floor.CLAIM) -> Step:
        """Return a claim."""
        path = f'{self._path}/claims?limit={count}'
        data = request(self._project, 'POST', path, self._terms())
        return Step(data, 201, self.poor)

    def settle(self, messages: Sequence[Mapping[str, str]]) -> Step:
        """Return a deletion of all messages of an answer to a claim."""
        claim_id = messages[0]['href'].rpartition('=')[2]
        body = msgspec.json.encode({'delete': [one['id'] for one in messages]})
        path = f'{self._path}/claims/{claim_id}/settle'
        data = request(self._project, 'POST', path, body, headers=NEWEST)
        return Step(data, 200)

    def claimed(self, href: str) -> Step:
        """Return a query of a claim."""
        return self._step('GET', href, 200)

    def renew(self, href: str) -> Step:
        """Return a renewal of a claim."""
        data = request(self._project, 'PATCH', href, self._terms())
        return Step(data, 204)

    def release(self, href: str) -> Step:
        """Return a release of a claim."""
        return self._step('DELETE', href, 204)

    def subscribe(self, subscription: Mapping[str, Any]) -> Step:
        """Return the creation of a subscription."""
        body = msgspec.json.encode(subscription)
        path = f'{self._path}/subscriptions'
        return Step(request(self._project, 'POST', path, body), 201)

    def show(self) -> Step:
        """Return a reading of the metadata."""
        return self._step('GET', self._path, 200)

    def stats(self) -> Step:
        """Return a question for the counts."""
        return self._step('GET', f'{self._path}/stats', 200)

    def _step(self, method: str, path: str, status: int) -> Step:
        return Step(request(self._project, method, path), status)

    def _terms(self) -> bytes:
        terms = {'ttl': floor.CLAIM_TTL, 'grace': floor.GRACE}
        return msgspec.json.encode(terms)
