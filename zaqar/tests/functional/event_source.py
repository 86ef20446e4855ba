# SPDX-License-Identifier: Apache-2.0
"""A client of Server-Sent Events, as browsers are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import requests

#: Seconds for what is to happen at once.
PATIENCE = 60


class Event(NamedTuple):
    """A message of a stream, and the id to resume from."""

    id: str
    message: Any


class EventSource:
    """One stream, until it ends or is closed.

    :ivar last_id: to resume from
    """

    def __init__(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        last_id: str = '',
    ) -> None:
        self.last_id = last_id
        sent = {'Accept': 'text/event-stream', **(headers or {})}
        if last_id:
            sent['Last-Event-ID'] = last_id
        self.response = requests.get(
            url, headers=sent, stream=True, timeout=PATIENCE
        )
        self.retry = ''
        self.comments = 0
        self._lines = self._split()

    @property
    def status(self) -> int:
        return self.response.status_code

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """Return the next message, waiting for it."""
        kind, data = '', ''
        while True:
            line = next(self._lines)
            name, _, value = line.partition(': ')
            if line.startswith(':'):
                self.comments += 1
            elif name == 'id':
                self.last_id = value
            elif name == 'event':
                kind = value
            elif name == 'data':
                data += value
            elif name == 'retry':
                self.retry = value
            elif not line and data:
                assert kind == 'message'
                return Event(self.last_id, json.loads(data))

    def take(self, count: int) -> list[Any]:
        """Return the bodies of so many messages."""
        return [next(self).message['body'] for _ in range(count)]

    def close(self) -> None:
        self.response.close()

    def _split(self) -> Iterator[str]:
        rest = ''
        for part in self.response.iter_content(None):
            *lines, rest = (rest + part.decode()).split('\n')
            yield from lines
