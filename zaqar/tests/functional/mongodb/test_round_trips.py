# SPDX-License-Identifier: Apache-2.0
"""What each operation costs, as commands that go to the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from pymongo import monitoring

from zaqar.storage.mongodb import (
    database_commands_and_transactions,
    free_message_counts_and_wake_times,
    queue_document_changes,
    queue_state_cache,
)
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    deleted,
    extended,
    ids,
    message,
    released,
    token,
)
from zaqar.tests.functional.mongodb.conftest import Open, OpenRecords
from zaqar.tests.servers.mongodb import MongoDB

POST = ['findAndModify', 'insert', 'commitTransaction']

#: Calls on a queue of ten free messages behind ten claimed ones, and the
#: commands of each while its key is remembered.
OPERATIONS: dict[str, tuple[Callable[[Probe], object], list[str]]] = {
    'post 1': (lambda queue: queue.post('x'), POST),
    'post 10': (lambda queue: queue.post(*range(10)), POST),
    'post with a limit': (lambda queue: queue.post('x', limit=99), POST),
    'list 10': (lambda queue: queue.list(10), ['find']),
    'list 10 with delayed ones': (
        lambda queue: queue.list(10, include_delayed=True),
        ['find', 'find'],
    ),
    'list 10 in every state': (
        lambda queue: queue.list(
            10, include_claimed=True, include_delayed=True
        ),
        ['find'],
    ),
    'list 10 of others': (
        lambda queue: queue.list(10, exclude_client='x'),
        ['find'],
    ),
    'get': (lambda queue: queue.get('0' * 32), ['find']),
    'claim 1': (lambda queue: queue.take(1), ['find', 'update']),
    'claim 10': (
        lambda queue: queue.take(10),
        ['find', 'update', 'update'],
    ),
    'claim 10 with a maximum': (
        lambda queue: queue.take(10, max_claims=3),
        ['find', 'find', 'update', 'update', 'find'],
    ),
    'query claim': (lambda queue: queue.claimed('first'), ['find']),
    'renew': (lambda queue: queue.renew('first'), ['update']),
    'release': (lambda queue: queue.release('first'), ['update']),
    'settle': (
        lambda queue: queue.settle('first', deleted(first(queue, 0))),
        ['find', 'delete'],
    ),
    'settle in several ways': (
        lambda queue: queue.settle(
            'first',
            released(first(queue, 2), 9),
            released(first(queue, 3)),
            extended(first(queue, 4), 9),
        ),
        ['find', 'update'],
    ),
    'delete': (lambda queue: queue.delete(first(queue, 1)), ['delete']),
    'delete with a claim': (
        lambda queue: queue.delete(first(queue, 0), 'first'),
        ['delete'],
    ),
    'delete what is absent': (
        lambda queue: queue.delete('0' * 32),
        ['delete', 'find', 'find'],
    ),
    'bulk delete': (
        lambda queue: queue.delete_many(*['0' * 32] * 10),
        ['delete'],
    ),
    'bulk delete with a claim': (
        lambda queue: queue.delete_many('0' * 32, claim_ids=['first']),
        ['find', 'find', 'delete', 'commitTransaction'],
    ),
    'pop 1': (lambda queue: queue.pop(1), ['find', 'update', 'delete']),
    'pop 10': (lambda queue: queue.pop(10), ['find', 'update', 'delete']),
    'stats': (
        lambda queue: queue.stats(),
        ['find', 'aggregate'],
    ),
    'availability': (
        lambda queue: queue.availability(),
        ['find', 'aggregate'],
    ),
    'purge': (lambda queue: queue.purge(), ['findAndModify']),
    'drop': (lambda queue: queue.drop(), ['findAndModify']),
}


class Commands(monitoring.CommandListener):
    """Notes the commands of one thread."""

    def __init__(self) -> None:
        self._noted: list[str] | None = None
        self._thread = 0

    def of(self, work: Callable[[], object]) -> Sequence[str]:
        """Return the names of the commands that some work sends."""
        self._noted, self._thread = [], threading.get_ident()
        try:
            work()
            return list(self._noted)
        finally:
            self._noted = None

    def started(self, event: Any) -> None:
        if self._noted is not None and self._thread == threading.get_ident():
            self._noted.append(event.command_name)

    def succeeded(self, event: Any) -> None: ...
    def failed(self, event: Any) -> None: ...


COMMANDS = Commands()
monitoring.register(COMMANDS)


def first(queue: Probe, place: int) -> str:
    """Return the id of a message that was noted when it was posted."""
    return str(queue.marked[place])  # type: ignore[attr-defined]


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be forgotten or repeated while commands are counted.

    The test server needs most of the time of a step on a busy machine.
    """
    monkeypatch.setattr(
        database_commands_and_transactions, 'STEP_TIMEOUT', 60.0
    )
    monkeypatch.setattr(
        database_commands_and_transactions, 'COMMAND_TIMEOUT', 60.0
    )
    monkeypatch.setattr(queue_state_cache, 'CACHE_TTL', 600.0)
    monkeypatch.setattr(queue_document_changes, 'CACHE_TTL', 0.0)
    yield


def prepared(store: Any) -> Probe:
    """Return a queue whose key and whose claims are known."""
    queue = Probe(store, Hand())
    claimed = queue.post(*range(10), limit=99)
    queue.take(10, claim_id='first')
    free = queue.post(*range(10, 20))
    queue.list(1)
    queue.marked = [claimed[0], free[0], *claimed[1:]]  # type: ignore[attr-defined]
    return queue


@pytest.mark.parametrize('fifo', [False, True], ids=['mongodb', 'fifo'])
@pytest.mark.parametrize('name', OPERATIONS)
def test_each_operation_sends_these_commands(
    server: MongoDB, opened: Open, remembering: None, name: str, fifo: bool
) -> None:
    queue = prepared(opened(server.uri, fifo=fifo))
    call, commands = OPERATIONS[name]
    assert list(COMMANDS.of(lambda: call(queue))) == commands


def test_the_first_look_at_a_queue_is_two_commands_more(
    server: MongoDB, opened: Open
) -> None:
    near, far = opened(server.uri), opened(server.uri)
    queue = prepared(near)
    unknown = Probe(far, queue.hand, queue.qid)
    # Its key, and when the first claim ends.
    commands = COMMANDS.of(lambda: unknown.list(10))
    assert commands == ['find', 'find', 'find']


def test_many_queues_are_looked_at_in_a_few_commands(
    server: MongoDB, opened: Open, remembering: None
) -> None:
    store, hand = opened(server.uri, partitions=1), Hand()
    queues = [
        Probe(store, hand)
        for _ in range(free_message_counts_and_wake_times.CHUNK + 1)
    ]
    for queue in queues:
        queue.post('a')
    qids = [*(queue.qid for queue in queues), token()]
    commands = COMMANDS.of(lambda: store.availability(qids, now=hand.now))
    assert commands == ['find', 'aggregate', 'aggregate']


def test_depth_costs_no_command(
    server: MongoDB, opened: Open, remembering: None
) -> None:
    queue = prepared(opened(server.uri))
    queue.post(*range(500))
    queue.take(250)
    call, commands = OPERATIONS['claim 10']
    assert list(COMMANDS.of(lambda: call(queue))) == commands
    call, commands = OPERATIONS['list 10']
    assert list(COMMANDS.of(lambda: call(queue))) == commands


def test_a_notice_goes_with_its_post(
    server: MongoDB, opened: Open, remembering: None
) -> None:
    queue = prepared(opened(server.uri, partitions=1))

    def post() -> None:
        queue.store.post(
            queue.qid,
            [message('x')],
            now=queue.hand.now,
            token=token(),
            notice=lambda _: message('notice'),
        )

    post()
    assert COMMANDS.of(post) == POST


def test_the_server_counts_as_many_as_we_do(
    own_server: Callable[..., MongoDB], opened: Open, remembering: None
) -> None:
    own = own_server()
    queue = prepared(opened(own.uri, database='counted'))
    with own.observer() as observer:

        def counters() -> dict[str, int]:
            counts = observer.admin.command('serverStatus')['opcounters']
            return {kind: counts[kind] for kind in ('query', 'update')}

        before = counters()
        for _ in range(3):
            queue.release(queue.take(1).id)
            queue.list(10)
        after = counters()
    assert {kind: after[kind] - before[kind] for kind in after} == {
        'query': 6,
        'update': 6,
    }


def test_records_are_one_command(
    server: MongoDB, opened_records: OpenRecords
) -> None:
    store = opened_records(server.uri)
    key = ('queue', token(), 'a')
    works: list[tuple[Callable[[], object], str]] = [
        (lambda: store.create(*key, {}), 'insert'),
        (lambda: store.get(*key), 'find'),
        (lambda: store.replace(*key, {'a': 1}, version=1), 'update'),
        (lambda: store.list(*key[:2], after=None, limit=9), 'find'),
        (lambda: store.count(*key[:2]), 'aggregate'),
        (lambda: store.delete(*key), 'findAndModify'),
    ]
    for work, command in works:
        assert list(COMMANDS.of(work)) == [command]


def test_a_claim_of_many_goes_in_pieces(
    server: MongoDB, opened: Open, remembering: None
) -> None:
    queue = prepared(opened(server.uri))
    posted = queue.post(*range(600))
    queue.take(10)
    taken: list[str] = []
    commands = COMMANDS.of(lambda: taken.extend(ids(queue.take(600).messages)))
    assert taken == list(posted)
    assert commands == ['find', 'getMore', *['update'] * 4] or (
        commands == ['find', *['update'] * 4]
    )
