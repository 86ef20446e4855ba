# SPDX-License-Identifier: Apache-2.0
"""What operations on queues with groups cost, as commands to the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zaqar.storage.mongodb import free_message_counts_and_wake_times
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    deleted,
    message,
    released,
    token,
)
from zaqar.tests.functional.mongodb.conftest import Open
from zaqar.tests.functional.mongodb.test_round_trips import (
    COMMANDS,
    first,
    remembering,
)
from zaqar.tests.servers.mongodb import MongoDB

__all__ = ['remembering']

#: What ends each change of one group: its holds, its first message, itself.
REGROUP = ['find', 'find', 'update', 'commitTransaction']

#: What is free without a group, free groups, their messages, then the groups
#: and the messages in one transaction, and what was taken.
CLAIM = [
    *('find', 'aggregate', 'aggregate'),
    *('update', 'update', 'update', 'commitTransaction'),
    'find',
]

#: Calls on a queue of ten free groups behind ten busy ones, all of two
#: messages, and the commands of each while its key is remembered.
OPERATIONS: dict[str, tuple[Callable[[Probe], object], list[str]]] = {
    'post': (
        lambda queue: queue.post('x', group='a'),
        ['findAndModify', 'update', 'insert', 'commitTransaction'],
    ),
    'list': (lambda queue: queue.list(10), ['find', 'find']),
    'claim 1': (lambda queue: queue.take(1), CLAIM),
    'claim 10': (lambda queue: queue.take(10), CLAIM),
    'query claim': (lambda queue: queue.claimed('first'), ['find']),
    'renew one': (
        lambda queue: queue.renew('one'),
        ['find', 'update', *REGROUP],
    ),
    'release one': (
        lambda queue: queue.release('one'),
        ['find', 'update', *REGROUP],
    ),
    'settle': (
        lambda queue: queue.settle('one', deleted(first(queue, 0))),
        ['find', 'delete', *REGROUP],
    ),
    'settle with a delay': (
        lambda queue: queue.settle('one', released(first(queue, 0), 9)),
        ['find', 'update', *REGROUP],
    ),
    'delete': (
        lambda queue: queue.delete(first(queue, 1)),
        ['findAndModify', *REGROUP],
    ),
    'pop 1': (
        lambda queue: queue.pop(1),
        # Without a guard.
        [*CLAIM[:4], *CLAIM[5:], 'delete', *REGROUP],
    ),
    'stats': (lambda queue: queue.stats(), ['find', 'aggregate']),
    'availability': (
        lambda queue: queue.availability(),
        ['find', 'aggregate'],
    ),
}


def prepared(store: Any, busy: int = 9) -> Probe:
    """Return a queue whose key and whose claims are known."""
    queue = Probe(store, Hand())
    names = [f'g{number}' for number in range(busy + 11)]
    posted = queue.send([message(name, group=name) for name in names * 2])
    queue.take(1, claim_id='one')
    queue.take(busy, claim_id='first')
    queue.list(1)
    queue.marked = [posted[0], posted[busy + 1]]  # type: ignore[attr-defined]
    return queue


@pytest.mark.parametrize('name', OPERATIONS)
def test_each_operation_sends_these_commands(
    server: MongoDB, opened: Open, remembering: None, name: str
) -> None:
    queue = prepared(opened(server.uri, fifo=True))
    call, commands = OPERATIONS[name]
    assert list(COMMANDS.of(lambda: call(queue))) == commands


def test_many_busy_groups_cost_no_command(
    server: MongoDB, opened: Open, remembering: None
) -> None:
    queue = prepared(opened(server.uri, fifo=True), busy=100)
    for name in ('claim 1', 'claim 10', 'list', 'stats', 'availability'):
        call, commands = OPERATIONS[name]
        assert list(COMMANDS.of(lambda call=call: call(queue))) == commands


def test_many_queues_are_looked_at_in_a_few_commands(
    server: MongoDB, opened: Open, remembering: None
) -> None:
    store, hand = opened(server.uri, partitions=1), Hand()
    count = free_message_counts_and_wake_times.CHUNK_WITH_GROUPS + 1
    queues = [Probe(store, hand) for _ in range(count)]
    for queue in queues:
        queue.post('a', group='a')
    qids = [*(queue.qid for queue in queues), token()]
    offers = []
    commands = COMMANDS.of(
        lambda: offers.extend(store.availability(qids, now=hand.now))
    )
    assert [offer.free for offer in offers] == [1] * count + [0]
    assert commands == ['find', 'aggregate', 'aggregate']
