# SPDX-License-Identifier: Apache-2.0
"""What clients do again and again, at servers that are reached by HTTP alone.

Those may be of another build: its store is not opened here.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from benchmarks import load, requests
from benchmarks.load import Step

#: Messages that a slice finds for each second and connection.
SUPPLY = 1200

#: Messages of a post that fills a queue.
BATCH = 100

#: Messages in queues that are only read.
DEPTH = 1000


class Queue:
    """A queue of a server."""

    def __init__(self, port: int, project: str, name: str) -> None:
        self.project = project
        self.name = name
        self.path = f'/v2/queues/{name}'
        self.requests = requests.Requests(self)
        self._port = port

    def supply(self, count: int) -> None:
        """Post until so many messages are free."""
        connection = load.Connection(self._port)
        try:
            stats = connection.exchange(self.requests.stats())
            free = msgspec.json.decode(stats)['messages']['free']
            for _ in range(-((free - count) // BATCH)):
                connection.exchange(self.requests.post(BATCH))
        finally:
            connection.close()


class Sender(Protocol):
    """What one queue is sent, over HTTP or in frames."""

    def post(self, count: int) -> Step:
        """Return a post of some messages."""

    def show(self) -> Step:
        """Return a reading of the metadata."""

    def list(self) -> Step:
        """Return a reading of a page."""

    def claim(self) -> Step:
        """Return a claim."""

    def messages(self, answer: bytes) -> Sequence[Mapping[str, str]]:
        """Return those of an answer to a claim."""

    def delete_claimed(self, message: Mapping[str, str]) -> Step:
        """Return a deletion of one of them."""


class Operation(NamedTuple):
    """What clients send again and again.

    :ivar each: requests for each message
    :ivar takes: whether it takes messages away
    :ivar depth: messages that a queue holds, if not
    """

    script: Callable[[Sender], load.Script]
    each: float = 1.0
    takes: bool = False
    depth: int = 0


def _claims(sender: Sender, *, deletes: bool) -> load.Script:
    claim = sender.claim()
    while True:
        answer = yield claim
        if deletes:
            for message in sender.messages(answer):
                yield sender.delete_claimed(message)


def _settled_claims(sender: requests.Requests) -> load.Script:
    claim = sender.claim(10)
    while True:
        messages = msgspec.json.decode((yield claim))['messages']
        yield sender.settle(messages)


OPERATIONS: Mapping[str, Operation] = {
    'post 1': Operation(lambda to: load.repeat(to.post(1))),
    'post 10': Operation(lambda to: load.repeat(to.post(10)), each=0.1),
    'show': Operation(lambda to: load.repeat(to.show())),
    'list 10': Operation(
        lambda to: load.repeat(to.list()), each=0.1, depth=DEPTH
    ),
    'claim 5': Operation(
        functools.partial(_claims, deletes=False), each=0.2, takes=True
    ),
    'claim 5 + delete': Operation(
        functools.partial(_claims, deletes=True), each=1.2, takes=True
    ),
}

#: What builds before version 2.1 of the API do not know.
NEWER: Mapping[str, Operation] = {
    'claim 10 + settle': Operation(_settled_claims, each=0.2, takes=True),
}


def prepared(
    operation: Operation,
    queues: Sequence[Queue],
    connections: int,
    seconds: float,
    most: float = 0.0,
    sender: Callable[[Queue], Sender] = lambda queue: queue.requests,
) -> Sequence[load.Script]:
    """Return a script for each connection; the queues have what they need.

    :param most: requests per second that there may be, 0 if that is not known
    :param sender: returns what a queue is sent
    """
    need = operation.depth
    if operation.takes:
        supply = most / operation.each if most else SUPPLY * connections
        need = int(supply * seconds) // len(queues)
    for queue in queues if need else ():
        queue.supply(need)
    cycle = itertools.cycle(queues)
    return [operation.script(sender(next(cycle))) for _ in range(connections)]
