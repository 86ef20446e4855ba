# SPDX-License-Identifier: Apache-2.0
"""The server dies, the primary moves, a connection breaks in the middle.

The server of these tests has no second member: that the primary has moved is
what it is told to say, by ``configureFailPoint``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from zaqar.errors import QueueFull, StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.mongodb import posting
from zaqar.tests.contract.crowd import ends_within, timed
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token
from zaqar.tests.functional.mongodb.conftest import Open, OpenRecords
from zaqar.tests.servers.mongodb import MongoDB

#: Codes of a server that is the primary no more.
NOT_PRIMARY, STEPPED_DOWN, SHUTTING_DOWN = 10107, 189, 91

#: What is done to the next command of a kind.
FAULTS: dict[str, dict[str, Any]] = {
    'not primary': {'errorCode': NOT_PRIMARY},
    'stepped down': {'errorCode': STEPPED_DOWN},
    'shutting down': {'errorCode': SHUTTING_DOWN},
    'closed': {'closeConnection': True},
}

#: Codes that servers do not label, and another try may mend.
UNLABELLED = {
    'cursor not found': 43,
    'majority not yet readable': 134,
    'cursor killed': 237,
    'time limit': 262,
    'cache full': 365,
    'session killed': 11601,
}

#: Seconds within which a caller must know.
BOUND = 5.0


@contextlib.contextmanager
def failing(
    server: MongoDB, command: str, times: int, **fault: Any
) -> Iterator[None]:
    """Let commands of a kind fail.

    :raises AssertionError: at the end, if none of that kind came
    """
    point = {'configureFailPoint': 'failCommand'}
    with server.observer() as observer:
        observer.admin.command(
            {
                **point,
                'mode': {'times': times},
                'data': {'failCommands': [command], **fault},
            }
        )
        try:
            yield
        finally:
            report = observer.admin.command({**point, 'mode': 'off'})
    assert report.get('count', 1), f'no {command} was sent'


def insist(work: Callable[[], Any]) -> Any:
    """Repeat a call as its caller does."""
    for _ in range(3):
        with contextlib.suppress(StoreUnavailable):
            return work()
    raise AssertionError('the store stays unavailable')


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize(
    'command', ['findAndModify', 'insert', 'commitTransaction']
)
def test_a_post_is_stored_once_while_the_primary_moves(
    server: MongoDB, queue: Probe, command: str, fault: str
) -> None:
    queue.post('old')
    call = partial(queue.post, 'a', 'b', token=token())
    with failing(server, command, 1, **FAULTS[fault]):
        posted = insist(call)
    assert queue.everything() == ['old', 'a', 'b']
    assert ids(queue.walk())[1:] == list(posted)
    assert call() == posted


def test_a_slow_count_serves_the_next_try_of_a_post(
    server: MongoDB, queue: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However fast it is; and no other one follows.
    monkeypatch.setattr(posting, 'SLOW_COUNT', -1)
    monkeypatch.setattr(posting, 'SHARE', 1e-9)
    with failing(server, 'insert', 1, errorCode=NOT_PRIMARY):
        queue.post('a', limit=3)
    queue.post('b', limit=3)
    with pytest.raises(QueueFull):
        queue.post('c', 'd', limit=3)
    assert queue.everything() == ['a', 'b']


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('command', ['find', 'update'])
def test_a_claim_takes_its_messages_once_while_the_primary_moves(
    server: MongoDB, queue: Probe, command: str, fault: str
) -> None:
    queue.post('a', 'b', 'c')
    call = partial(queue.take, 2, claim_id=token(), max_claims=5)
    with failing(server, command, 1, **FAULTS[fault]):
        claim = insist(call)
    assert bodies(claim.messages) == ['a', 'b']
    assert {message.claim_count for message in claim.messages} == {1}
    assert bodies(queue.walk()) == ['c']


@pytest.mark.parametrize('command', ['find', 'update', 'delete'])
def test_a_pop_hands_out_once_while_the_primary_moves(
    server: MongoDB, queue: Probe, command: str
) -> None:
    queue.post('a', 'b', 'c')
    with failing(server, command, 1, **FAULTS['not primary']):
        popped = bodies(insist(partial(queue.pop, 2)))
    assert popped == ['a', 'b']
    assert queue.everything() == ['c']


def test_a_delete_and_a_renewal_pass_a_move_of_the_primary(
    server: MongoDB, queue: Probe
) -> None:
    one, _ = queue.post('a', 'b')
    claim = queue.take()
    with failing(server, 'update', 1, **FAULTS['stepped down']):
        assert insist(partial(queue.renew, claim.id, ttl=900))
    with failing(server, 'delete', 1, **FAULTS['stepped down']):
        insist(partial(queue.delete, one, claim.id))
    renewed = queue.claimed(claim.id)
    assert renewed is not None
    assert (renewed.ttl, bodies(renewed.messages)) == (900, ['b'])


def test_records_pass_a_move_of_the_primary(
    server: MongoDB, opened_records: OpenRecords
) -> None:
    store = opened_records(server.uri)
    key = ('queue', token(), 'a')
    with failing(server, 'insert', 1, **FAULTS['not primary']):
        assert insist(partial(store.create, *key, {'n': 1}))
    with failing(server, 'update', 1, **FAULTS['not primary']):
        assert insist(partial(store.replace, *key, {'n': 2}, version=1))
    record = store.get(*key)
    assert record is not None
    assert (dict(record.data), record.version) == ({'n': 2}, 2)


@pytest.mark.parametrize('code', UNLABELLED.values(), ids=UNLABELLED)
def test_what_another_try_may_mend_is_tried_again(
    server: MongoDB, queue: Probe, code: int
) -> None:
    fault: dict[str, Any] = {'errorCode': code, 'errorLabels': []}
    with failing(server, 'findAndModify', 2, **fault):
        queue.post('a')
    with failing(server, 'insert', 2, **fault):
        queue.post('b')
    with failing(server, 'find', 2, **fault):
        assert queue.everything() == ['a', 'b']
    with failing(server, 'update', 2, **fault):
        assert bodies(queue.take().messages) == ['a', 'b']


def test_a_sweep_whose_answer_was_lost_leaves_nothing_behind(
    opened: Open, server: MongoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f'lost_{token()[:8]}'
    queue = Probe(opened(server.uri, database=place, partitions=1), Hand())
    queue.post('a')
    queue.purge()
    update, calls = Collection.update_one, []

    def update_one(*arguments: Any, **named: Any) -> Any:
        result = update(*arguments, **named)
        calls.append(result)
        if len(calls) == 1:
            raise AutoReconnect
        return result

    monkeypatch.setattr(Collection, 'update_one', update_one)
    # The message and the document of its post.
    assert queue.store.sweep(now=queue.hand.now, batch=10) == 2
    assert len(calls) == 2
    assert queue.store.sweep(now=queue.hand.now, batch=10) == 0
    with server.observer() as observer:
        row = observer[f'{place}_messages_p0']['queue'].find_one()
    assert row is not None
    assert 'old' not in row


def test_a_primary_that_stays_away_is_told_within_five_seconds(
    server: MongoDB, queue: Probe
) -> None:
    queue.post('old')
    with (
        failing(server, 'findAndModify', 1000, **FAULTS['not primary']),
        ends_within(BOUND),
        pytest.raises(StoreUnavailable) as raised,
    ):
        queue.post('new')
    assert raised.value.headers['Retry-After']
    insist(lambda: queue.list())
    assert queue.everything() == ['old']


def test_a_write_that_no_majority_has_confirmed_is_no_success(
    server: MongoDB, queue: Probe
) -> None:
    queue.post('old')
    claim = queue.take()
    concern = {'code': 64, 'errmsg': 'waiting for replication timed out'}
    with (
        failing(server, 'update', 1, writeConcernError=concern),
        pytest.raises(StoreUnavailable),
    ):
        queue.renew(claim.id)
    assert queue.renew(claim.id)


@pytest.fixture
def mortal(own_server: Callable[..., MongoDB]) -> MongoDB:
    """A server that may be killed, and waits for the disk."""
    return own_server('--sync-on-commit')


def test_what_was_acknowledged_survives_the_death_of_the_server(
    mortal: MongoDB, opened: Open
) -> None:
    queue = Probe(opened(mortal.uri), Hand())
    name = token()
    posted = queue.post(*range(20), token=name)
    claim = queue.take(5)
    queue.delete(claim.messages[0].id, claim.id)
    popped = queue.pop(2)
    mortal.kill()
    with ends_within(BOUND), pytest.raises(StoreUnavailable):
        queue.post('lost')
    mortal.start()
    assert insist(lambda: queue.post(*range(20), token=name)) == posted
    assert bodies(popped) == [5, 6]
    assert queue.everything() == [1, 2, 3, 4, *range(7, 20)]
    stored = queue.claimed(claim.id)
    assert stored is not None
    assert bodies(stored.messages) == [1, 2, 3, 4]
    queue.post('goes on')
    assert queue.everything()[-1] == 'goes on'


def test_a_service_that_started_first_finds_the_server_later(
    own_server: Callable[..., MongoDB], opened: Open
) -> None:
    server = own_server()
    server.kill()
    store: MessageStore = opened(server.uri)
    queue = Probe(store, Hand())
    _, error = timed(store.ping)
    assert isinstance(error, StoreUnavailable)
    server.start()
    insist(lambda: queue.post('a'))
    assert queue.everything() == ['a']


def test_posts_during_a_restart_are_stored_once_or_not_at_all(
    mortal: MongoDB, opened: Open
) -> None:
    queue = Probe(opened(mortal.uri), Hand())
    queue.post('first')
    tokens = [token() for _ in range(6)]
    mortal.kill()
    failed = 0
    for number, name in enumerate(tokens[:1]):
        try:
            queue.post(number, token=name)
        except StoreUnavailable:
            failed += 1
    assert failed == 1
    mortal.start()
    for number, name in enumerate(tokens):
        for _ in range(2):
            insist(partial(queue.post, number, token=name))
    assert queue.everything() == ['first', *range(6)]
