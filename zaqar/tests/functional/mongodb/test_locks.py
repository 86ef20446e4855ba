# SPDX-License-Identifier: Apache-2.0
"""Transactions that wait for one another, and end those of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest
from pymongo.errors import OperationFailure

from zaqar.storage.mongodb.queue_document_changes import QueueDocuments
from zaqar.storage.mongodb.sessions_and_abandoned_transactions import (
    TransactionSessions,
)
from zaqar.tests.contract.probe import Hand, Probe, token
from zaqar.tests.functional.mongodb.conftest import Open
from zaqar.tests.servers.mongodb import MongoDB


class Process:
    """What a process has of a store: sessions, and a document to change."""

    def __init__(self, uri: str, place: str) -> None:
        self.client = pymongo.MongoClient[dict[str, Any]](uri)
        self.place = self.client[place]
        self.sessions = TransactionSessions(
            self.client, lambda name: self.place[name]
        )

    def change(self, meanwhile: Callable[[], None]) -> bool:
        """Change it while others wait; tell whether that was committed."""
        documents = self.place['document']
        documents.update_one({'_id': 1}, {'$set': {'n': 0}}, upsert=True)
        try:
            with self.sessions.session() as session:
                session.start_transaction()
                documents.update_one(
                    {'_id': 1}, {'$set': {'n': 1}}, session=session
                )
                meanwhile()
                session.commit_transaction()
        except OperationFailure:
            return False
        return documents.find_one({'_id': 1, 'n': 1}) is not None


@pytest.fixture
def three(server: MongoDB) -> Iterator[list[Process]]:
    """Three processes that have a store open."""
    place = f'locks_{token()[:8]}'
    processes = [Process(server.uri, place) for _ in range(3)]
    yield processes
    for one in processes:
        one.client.close()


def test_a_slow_transaction_is_ended_once_and_then_left_in_peace(
    three: list[Process],
) -> None:
    slow, second, third = three
    assert not slow.change(second.sessions.kill_foreign_transactions)
    for other in (second, third, second):
        assert slow.change(other.sessions.kill_foreign_transactions)
    slow.place['lease'].update_one({'_id': 'killing'}, {'$set': {'until': 0}})
    assert not slow.change(third.sessions.kill_foreign_transactions)


def test_a_post_succeeds_whoever_waits_for_its_queue(
    server: MongoDB, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f'locks_{token()[:8]}'
    queue = Probe(opened(server.uri, database=place, partitions=1), Hand())
    waiting = Process(server.uri, f'{place}_messages_p0')
    take, calls = QueueDocuments.take_numbers, []

    def take_numbers(*arguments: Any) -> Any:
        document = take(*arguments)
        calls.append(document)
        # The queue is locked now.
        waiting.sessions.kill_foreign_transactions()
        return document

    monkeypatch.setattr(QueueDocuments, 'take_numbers', take_numbers)
    queue.post('a')
    queue.post('b')
    assert queue.everything() == ['a', 'b']
    # The first one was ended once.
    assert len(calls) == 3
    waiting.client.close()
