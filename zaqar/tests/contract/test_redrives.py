# SPDX-License-Identifier: Apache-2.0
"""Redrives, worked on by the controllers over every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from msgspec import structs

from zaqar import store_clock
from zaqar.controllers import (
    message_attribute_codec,
    message_extras_codec,
    redrives,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.leased_redrive_record import LEASE
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.message_extras_codec import DeadLetter
from zaqar.controllers.pipeline_and_confirmation_settings import Pipeline
from zaqar.controllers.redrive_batches import DELETED, UNAVAILABLE, Run
from zaqar.controllers.redrive_records import LIFETIME, Redrive
from zaqar.controllers.redrive_selection import Selection
from zaqar.controllers.result_types import DryRun, StartedRedrive
from zaqar.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    StoreUnavailable,
)
from zaqar.microversion_constants import V2_1
from zaqar.objects import Message, Scope
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import OUTBOX, ManagementStore, MessageStore
from zaqar.tests.contract.caller import Caller, Died, Mortal
from zaqar.tests.contract.probe import Hand, bodies

#: What moves three messages in two batches: changes of both stores.
STEPS = [
    *('replace', 'replace', 'claim', 'post', 'replace', 'settle'),
    *('claim', 'post', 'replace', 'settle'),
    *('replace', 'create', 'create', 'delete'),
]


COLOR = {'color': {'type': 'String', 'value': 'red'}}


class Clock:
    """A timer that its reader does not wait for."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ctx(
    ctx: Context,
    management: ManagementStore,
    hand: Hand,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Context]:
    """A context of a service with notifiers; leases go by the hand, too."""
    clock = store_clock.Clock(wall=hand.read)
    monkeypatch.setattr(management, 'clock', clock)
    yield structs.replace(ctx, pipeline=Pipeline(notifies=True))
    # Others look at the notices of the shared place, and know theirs only.
    ctx.catalogue.messages.purge(OUTBOX, now=hand.now)


@pytest.fixture
def dead(ctx: Context) -> Caller:
    """The queue of dead letters."""
    return Caller(ctx, 'dead')


@pytest.fixture
def work(dead: Caller) -> Caller:
    """A queue whose messages are handed out once."""
    queue = dead.other('work')
    queue.create(_max_claim_count=1, _dead_letter_queue='dead')
    return queue


def bury(queue: Caller, *bodies: Any, **fields: Any) -> Sequence[str]:
    """Post messages and have them moved."""
    posted = queue.post(*bodies, **fields)
    while queue.hand_out():
        pass
    return posted


def story(message: Message) -> DeadLetter | None:
    """Return where a message comes from."""
    return message_extras_codec.decode(message.extras).dead_letter


def start(queue: Caller, **document: Any) -> str:
    """Request a redrive."""
    started = redrives.create(queue.ctx, scope=queue.scope, document=document)
    assert isinstance(started, StartedRedrive)
    return started.id


def show(queue: Caller, redrive_id: str) -> Redrive:
    """Look up a redrive."""
    return redrives.get(queue.ctx, scope=queue.scope, redrive_id=redrive_id)


def count(queue: Caller, **document: Any) -> DryRun:
    """Look what a redrive would do."""
    document = {**document, 'dry_run': True}
    result = redrives.create(queue.ctx, scope=queue.scope, document=document)
    assert isinstance(result, DryRun)
    return result


def work_on(
    queue: Caller, owner: str = 'a notifier', steps: int = 200
) -> float | None:
    """Do the work of a redrive; return how long it took."""
    clock = Clock()
    run = Run(queue.ctx, queue.scope, owner, clock)
    assert run.take()
    for _ in range(steps):
        pause = run.step()
        if pause is None:
            return clock.now
        clock.now += pause
    return None


def redriven(queue: Caller, **document: Any) -> Redrive:
    """Request a redrive and do its work."""
    redrive_id = start(queue, **document)
    assert work_on(queue) is not None
    return show(queue, redrive_id)


def test_a_dead_letter_tells_where_it_comes_from(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    bury(work, 'a', ttl=3600)
    (letter,) = dead.everything()
    assert story(letter) == DeadLetter(
        'work', 'claimed 1 times', 1, hand.now, 3600
    )


def test_messages_go_back_where_they_came_from(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    other = dead.other('other')
    other.create(_max_claim_count=1, _dead_letter_queue='dead')
    bury(work, 'a', 'b', ttl=3600)
    bury(other, 'c', ttl=7200)
    dead.post('not from elsewhere')
    hand.move(1000)
    redrive = redriven(dead)
    assert (redrive.status, redrive.moved, redrive.matched) == ('done', 3, 3)
    assert redrive.ended_at == hand.now
    assert bodies(work.everything()) == ['a', 'b']
    assert bodies(other.everything()) == ['c']
    assert bodies(dead.everything()) == ['not from elsewhere']
    for queue, ttl in ((work, 3600), (other, 7200)):
        for message in queue.everything():
            # As if posted now.
            assert (message.claim_count, message.ttl) == (0, ttl)
            assert message.created_at == hand.now
            assert story(message) is None


@pytest.mark.one_store
def test_the_ttl_of_a_dead_letter_is_not_that_of_its_post(
    dead: Caller, hand: Hand
) -> None:
    work = dead.other('work')
    work.create(
        _max_claim_count=1,
        _dead_letter_queue='dead',
        _dead_letter_queue_messages_ttl=600,
    )
    bury(work, 'a', ttl=3600)
    assert dead.everything()[0].ttl == 600
    redriven(dead)
    assert work.everything()[0].ttl == 3600


@pytest.mark.one_store
def test_messages_go_where_the_request_says(
    work: Caller, dead: Caller
) -> None:
    bury(work, {'a': ['ä']})
    dead.post('not from elsewhere', ttl=700)
    target = dead.other('target')
    redrive = redriven(dead, to='target')
    assert redrive.moved == 2
    one, other = target.everything()
    assert one.body == b'{"a": ["\\u00e4"]}'
    assert other.ttl == 700
    assert dead.everything() == []


def test_a_filter_selects(work: Caller, dead: Caller, hand: Hand) -> None:
    bury(work, {'type': 'a'}, {'type': 'b'})
    hand.move(100)
    bury(work, {'type': 'a', 'late': True})
    every: list[tuple[dict[str, Any], int]] = [
        ({}, 3),
        ({'body': {'type': ['a']}}, 2),
        ({'body': {'/type': [{'anything-but': ['a']}]}}, 1),
        ({'source': 'work'}, 3),
        ({'source': ['x', {'prefix': 'wo'}]}, 3),
        ({'source': 'x'}, 0),
        ({'reason': 'claimed 1 times'}, 3),
        ({'reason': [{'suffix': '2 times'}]}, 0),
        ({'older_than': 100}, 2),
        ({'newer_than': 100}, 1),
        ({'older_than': 101}, 0),
        ({'older_than': 1, 'body': {'type': ['a']}}, 1),
    ]
    for conditions, matched in every:
        result = count(dead, filter=conditions)
        assert result == DryRun(matched, 3, complete=True), conditions
    assert len(dead.everything()) == 3
    redrive = redriven(dead, filter={'body': {'type': ['a']}}, to='target')
    assert redrive.moved == 2
    assert bodies(dead.everything()) == [{'type': 'b'}]


@pytest.mark.one_store
def test_a_dry_run_ends_within_a_page(
    work: Caller, dead: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(work, 'a', 'b', 'c')
    monkeypatch.setattr(redrives, 'MOST_BYTES', 4)
    assert count(dead) == DryRun(2, 2, complete=False)
    monkeypatch.setattr(redrives, 'MOST_BYTES', 9)
    assert count(dead) == DryRun(3, 3, complete=True)


@pytest.mark.one_store
def test_a_redrive_moves_no_more_than_its_limit(
    work: Caller, dead: Caller
) -> None:
    bury(work, *range(5))
    assert count(dead, limit=3) == DryRun(3, 3, complete=True)
    redrive = redriven(dead, limit=3)
    assert (redrive.status, redrive.moved) == ('done', 3)
    assert bodies(work.everything()) == [0, 1, 2]
    assert bodies(dead.everything()) == [3, 4]


@pytest.mark.one_store
def test_a_redrive_is_no_faster_than_its_rate(
    work: Caller, dead: Caller
) -> None:
    bury(work, *range(12))
    start(dead, rate=4)
    assert work_on(dead) == pytest.approx(3, rel=0.1)
    assert bodies(work.everything()) == [*range(12)]


def test_messages_of_others_stay(work: Caller, dead: Caller) -> None:
    bury(work, 'a', 'b', 'c')
    claim = dead.claim(1)
    assert claim is not None
    redrive = redriven(dead)
    assert redrive.moved == 2
    dead.release(claim.id)
    assert bodies(dead.everything()) == ['a']


def test_what_comes_later_stays(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    bury(work, 'a')
    redrive_id = start(dead)
    hand.move(0.001)
    bury(work, 'b')
    work_on(dead)
    assert show(dead, redrive_id).moved == 1
    assert bodies(work.everything()) == ['a']
    assert bodies(dead.everything()) == ['b']


@pytest.mark.one_store
def test_there_is_one_redrive_at_a_time(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    bury(work, 'a')
    first = start(dead)
    with pytest.raises(Conflict, match=first):
        start(dead)
    # Other queues have their own.
    dead.other('work').post('x')
    start(work, to='target')
    work_on(dead)
    hand.move(0.001)
    second = start(dead)
    shown = redrives.list_(dead.ctx, scope=dead.scope)
    assert [one.id for one in shown] == [second, first]
    assert [one.status for one in shown] == ['running', 'done']


@pytest.mark.one_store
def test_a_redrive_that_nobody_has_begun_is_cancelled_at_once(
    work: Caller, dead: Caller
) -> None:
    bury(work, 'a')
    first = start(dead)
    for _ in range(2):
        redrives.cancel(dead.ctx, scope=dead.scope, redrive_id=first)
        assert show(dead, first).status == 'cancelled'
    assert not Run(dead.ctx, dead.scope, 'x').take()
    assert bodies(dead.everything()) == ['a']
    start(dead)


@pytest.mark.one_store
def test_a_running_redrive_is_cancelled_after_its_batch(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    bury(work, *range(6))
    redrive_id = start(dead, rate=1)
    clock = Clock()
    run = Run(dead.ctx, dead.scope, 'a notifier', clock)
    assert run.take()
    assert run.step() == pytest.approx(1)
    redrives.cancel(dead.ctx, scope=dead.scope, redrive_id=redrive_id)
    with pytest.raises(Conflict, match='ending'):
        start(dead)
    clock.now += 1
    assert run.step() is None
    redrive = show(dead, redrive_id)
    assert (redrive.status, redrive.moved) == ('cancelled', 1)
    assert redrive.ended_at == hand.now
    assert bodies(work.everything()) == [0]
    assert bodies(dead.everything()) == [*range(1, 6)]
    assert dead.stats().claimed == 0


@pytest.mark.one_store
def test_unknown_redrives_and_queues_are_not_found(
    work: Caller, dead: Caller
) -> None:
    for redrive_id in ('x', '0' * 32):
        with pytest.raises(NotFound):
            show(dead, redrive_id)
        with pytest.raises(NotFound):
            redrives.cancel(dead.ctx, scope=dead.scope, redrive_id=redrive_id)
    with pytest.raises(NotFound, match='nowhere'):
        start(dead.other('nowhere'))
    # Nor is it made.
    assert not work.ctx.catalogue.read(dead.other('nowhere').scope)
    assert redrives.list_(dead.ctx, scope=dead.scope) == []


@pytest.mark.one_store
def test_a_redrive_of_a_queue_that_is_deleted_fails(
    work: Caller, dead: Caller
) -> None:
    bury(work, *range(4))
    redrive_id = start(dead, rate=1)
    assert work_on(dead, steps=1) is None
    dead.delete_queue()
    dead.post('new')
    work_on(dead)
    redrive = show(dead, redrive_id)
    assert (redrive.status, redrive.error) == ('failed', DELETED)
    assert redrive.moved == 1
    assert bodies(dead.everything()) == ['new']


@pytest.mark.one_store
def test_a_full_target_is_waited_for(work: Caller, dead: Caller) -> None:
    bury(work, *range(5))
    target = dead.other('target')
    target.create(_max_messages=2)
    redrive_id = start(dead, to='target')
    assert work_on(dead, steps=10) is None
    redrive = show(dead, redrive_id)
    assert (redrive.status, redrive.moved) == ('running', 2)
    assert redrive.error is not None and 'target' in redrive.error
    assert bodies(target.pop()) == [0, 1]
    assert dead.stats().claimed == 0
    assert work_on(dead, steps=10) is None
    assert bodies(target.pop()) == [2, 3]
    assert work_on(dead) is not None
    redrive = show(dead, redrive_id)
    assert (redrive.status, redrive.moved) == ('done', 5)
    assert (redrive.matched, redrive.error) == (5, None)
    assert bodies(target.pop()) == [4]


@pytest.mark.one_store
def test_a_store_that_does_not_respond_is_waited_for(
    work: Caller,
    dead: Caller,
    hand: Hand,
    store: MessageStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bury(work, 'a', 'b')
    redrive_id = start(dead)
    run = Run(dead.ctx, dead.scope, 'a notifier', Clock())
    assert run.take()

    def fail(*_arguments: Any, **_more: Any) -> None:
        raise StoreUnavailable

    for name in ('claim', 'post', 'settle'):
        with monkeypatch.context() as patch:
            patch.setattr(store, name, fail)
            for _ in range(3):
                # The lease is kept all the time.
                hand.move(LEASE / 2000)
                assert run.step() is not None
            assert show(dead, redrive_id).error == UNAVAILABLE
    while run.step() is not None:
        pass
    redrive = show(dead, redrive_id)
    assert (redrive.status, redrive.moved) == ('done', 2)
    assert redrive.error is None
    assert bodies(work.everything()) == ['a', 'b']
    assert dead.everything() == []


@pytest.mark.one_store
@pytest.mark.parametrize('source', [False, True])
@pytest.mark.parametrize('target', [False, True])
def test_bodies_are_encrypted_for_their_target(
    ctx: Context, source: bool, target: bool
) -> None:
    ctx = structs.replace(ctx, cipher=Cipher({'': 'a key of some length'}))
    dead, aim = Caller(ctx, 'dead'), Caller(ctx, 'aim')
    encrypted = {'_enable_encrypt_messages': True}
    ctx.catalogue.create(dead.scope, encrypted if source else {})
    ctx.catalogue.create(aim.scope, encrypted if target else {})
    dead.post('a', 'b')
    assert redriven(dead, to='aim').moved == 2
    assert bodies(aim.everything()) == ['a', 'b']
    queue = ctx.catalogue.read(aim.scope)
    assert queue is not None
    store = ctx.catalogue.store(queue)
    page = store.list(queue.qid, now=store.clock.now(), limit=2)
    assert [one.body[:1] == b'\x01' for one in page.messages] == [
        source or target
    ] * 2


@pytest.mark.one_store
@pytest.mark.parametrize('source', [False, True])
@pytest.mark.parametrize('target', [False, True])
def test_attributes_come_along(
    ctx: Context, source: bool, target: bool
) -> None:
    cipher = Cipher({'': 'a key of some length'})
    ctx = structs.replace(ctx, cipher=cipher, version=V2_1)
    work, dead, aim = (Caller(ctx, name) for name in ('work', 'dead', 'aim'))
    encrypted = {'_enable_encrypt_messages': True}
    letters = {'_max_claim_count': 1, '_dead_letter_queue': 'dead'}
    ctx.catalogue.create(work.scope, letters | (encrypted if source else {}))
    ctx.catalogue.create(aim.scope, encrypted if target else {})
    bury(work, 'x', attributes=COLOR)
    (letter,) = dead.everything()
    assert attributes(letter) == COLOR
    assert story(letter) is not None
    redriven(dead, to='aim')
    (message,) = aim.everything()
    assert attributes(message) == COLOR
    assert story(message) is None


def attributes(message: Message) -> Any:
    """Return the attributes of a message, in the clear."""
    data = message_extras_codec.decode(message.extras).attributes
    return (
        None if data is None else message_attribute_codec.read_attributes(data)
    )


@pytest.mark.one_store
def test_what_cannot_be_decrypted_stays(ctx: Context) -> None:
    keys = {'old': 'a key of some length', 'new': 'another key of length'}
    old = structs.replace(ctx, cipher=Cipher({'old': keys['old']}))
    new = structs.replace(ctx, cipher=Cipher({'new': keys['new']}))
    both = structs.replace(ctx, cipher=Cipher(keys))
    dead = Caller(new, 'dead')
    ctx.catalogue.create(dead.scope, {'_enable_encrypt_messages': True})
    Caller(old, 'dead').post('a')
    dead.post('b')
    redrive = redriven(dead, to='aim', filter={'body': {'x': [1]}})
    assert (redrive.moved, redrive.matched) == (0, 1)
    redrive = redriven(dead, to='aim')
    assert (redrive.status, redrive.moved) == ('done', 1)
    assert redrive.matched == 2
    assert bodies(dead.other('aim').everything()) == ['b']
    left = Caller(both, 'dead')
    assert bodies(left.everything()) == ['a']
    assert left.stats().claimed == 0


@pytest.mark.one_store
def test_an_ended_redrive_is_shown_for_a_week(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    bury(work, 'a')
    redrive_id = redriven(dead).id
    hand.before(LIFETIME)
    assert show(dead, redrive_id).status == 'done'
    hand.at_last()
    with pytest.raises(NotFound):
        show(dead, redrive_id)
    assert redrives.list_(dead.ctx, scope=dead.scope) == []


def test_only_one_notifier_has_the_lease(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    bury(work, *range(4))
    start(dead, rate=1)
    first = Run(dead.ctx, dead.scope, 'first', Clock())
    second = Run(dead.ctx, dead.scope, 'second', Clock())
    assert first.take()
    assert not second.take()
    hand.before(LEASE / 1000)
    assert not second.take()
    assert first.step() is not None
    hand.at_last()
    assert not second.take()
    hand.move(LEASE / 1000)
    assert second.take()
    assert first.step() is None
    second.leave()
    assert Run(dead.ctx, dead.scope, 'third').take()


@pytest.mark.one_store
def test_a_lease_does_not_outlast_a_clock_that_is_set_back(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    bury(work, 'a', ttl=86_400)
    hand.move(3600)
    start(dead)
    first = Run(dead.ctx, dead.scope, 'first', Clock())
    assert first.take()
    hand.move(-60)
    second = Run(dead.ctx, dead.scope, 'second', Clock())
    assert second.take()
    assert first.step() is None


@pytest.mark.one_store
def test_a_long_search_keeps_the_lease(
    work: Caller, dead: Caller, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(work, *range(12), ttl=86_400)
    redrive_id = start(dead, filter={'body': {'a': [1]}})
    target = Selection.target

    def take_long(selection: Selection, message: Message) -> Scope | None:
        hand.move(3)
        assert not Run(dead.ctx, dead.scope, 'second').take()
        return target(selection, message)

    monkeypatch.setattr(Selection, 'target', take_long)
    first = Run(dead.ctx, dead.scope, 'first', lambda: hand.now / 1000)
    assert first.take()
    while first.step() is not None:
        pass
    shown = show(dead, redrive_id)
    assert (shown.status, shown.matched) == ('done', 0)


@pytest.mark.one_store
def test_a_notifier_that_was_stopped_before_its_claim_moves_nothing(
    work: Caller,
    dead: Caller,
    hand: Hand,
    store: MessageStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bury(work, 'a', 'b', ttl=86_400)
    redrive_id = start(dead)
    claim, late = store.claim, list[Any]()

    def claim_late(qid: str, **terms: Any) -> Any:
        if not late:
            # It is stopped here, and another one begins.
            late.append(None)
            hand.move(LEASE / 1000)
            work_on(dead, 'another')
            return late[0]
        if late[0] is None:
            # Now it goes on, when the other one has looked for its claim.
            late[0] = claim(qid, **{**stopped, 'now': hand.now})
        return claim(qid, **terms)

    stopped: dict[str, Any] = {}

    def note(qid: str, **terms: Any) -> Any:
        stopped.update(stopped or terms)
        return claim_late(qid, **terms)

    with monkeypatch.context() as patch:
        patch.setattr(store, 'claim', note)
        assert work_on(dead, 'stopped') is not None
    assert late[0] is not None
    assert show(dead, redrive_id).status == 'done'
    # What it has claimed is free later, and in one place only.
    assert work.everything() == []
    assert bodies(dead.everything()) == ['a', 'b']


@pytest.mark.one_store
@pytest.mark.parametrize(
    'document',
    [
        [],
        'x',
        {'to': 'dead'},
        {'to': 'a/b'},
        {'to': 3},
        {'to': ''},
        {'limit': 0},
        {'limit': True},
        {'limit': 1.5},
        {'rate': 0},
        {'rate': 10_001},
        {'rate': '5'},
        {'dry_run': 1},
        {'dryrun': True},
        {'filter': []},
        {'filter': {'bdy': {}}},
        {'filter': {'body': []}},
        {'filter': {'body': {'a': 1}}},
        {'filter': {'source': 3}},
        {'filter': {'source': []}},
        {'filter': {'reason': [{'like': 'a'}]}},
        {'filter': {'older_than': -1}},
        {'filter': {'newer_than': '1'}},
        {'filter': {'older_than': 60, 'newer_than': 60}},
    ],
    ids=str,
)
def test_a_malformed_request_changes_nothing(
    dead: Caller, document: Any
) -> None:
    dead.post('a')
    with pytest.raises(InvalidRequest):
        redrives.create(dead.ctx, scope=dead.scope, document=document)
    assert redrives.list_(dead.ctx, scope=dead.scope) == []


@pytest.mark.one_store
def test_without_notifiers_there_are_no_redrives(dead: Caller) -> None:
    dead.post('a')
    ctx = structs.replace(dead.ctx, pipeline=Pipeline())
    alone = Caller(ctx, 'dead')
    with pytest.raises(InvalidRequest, match='message_pipeline'):
        start(alone)
    assert count(alone, to='x').matched == 1


@pytest.fixture
def three(work: Caller, dead: Caller) -> str:
    """A redrive of three messages, in batches of two; its id."""
    bury(work, 'a', 'b', 'c', ttl=86_400)
    return start(dead, rate=10)


@pytest.fixture
def run_of(
    dead: Caller, management: ManagementStore, store: MessageStore
) -> Callable[[Mortal], None]:
    """Works on redrives as a process that dies after some changes."""

    def run(mortal: Mortal) -> None:
        work_on(dead.by(mortal.catalogue(management, store)), 'mortal')

    return run


@pytest.fixture
def die_after(
    run_of: Callable[[Mortal], None],
) -> Callable[[int], Sequence[str]]:
    """Does so until the process dies; returns its changes."""

    def run(steps: int) -> Sequence[str]:
        mortal = Mortal(steps)
        with pytest.raises(Died):
            run_of(mortal)
        return mortal.changes

    return run


@pytest.fixture
def survivor(
    dead: Caller, management: ManagementStore, store: MessageStore
) -> Caller:
    """The same queue in another process."""
    return dead.by(Catalogue(management, store))


def test_a_redrive_makes_no_changes_but_those(
    three: str, run_of: Callable[[Mortal], None]
) -> None:
    mortal = Mortal(1000)
    run_of(mortal)
    assert mortal.changes == STEPS


@pytest.mark.parametrize('steps', range(len(STEPS)))
def test_a_redrive_interrupted_after_any_step_is_finished_by_another(
    three: str,
    work: Caller,
    dead: Caller,
    survivor: Caller,
    die_after: Callable[[int], Sequence[str]],
    hand: Hand,
    steps: int,
) -> None:
    assert die_after(steps) == STEPS[:steps]
    # Consumers go on meanwhile.
    consumed = bodies(work.pop())
    hand.move(LEASE / 1000)
    if steps < len(STEPS) - 1:
        assert work_on(survivor, 'survivor') is not None
    consumed += bodies(work.pop())
    assert consumed == ['a', 'b', 'c']
    assert dead.everything() == []
    redrive = show(survivor, three)
    assert (redrive.status, redrive.moved) == ('done', 3)


@pytest.mark.one_store
@pytest.mark.parametrize('steps', range(1, len(STEPS) - 4))
def test_a_redrive_that_is_cancelled_half_way_doubles_nothing(
    three: str,
    work: Caller,
    dead: Caller,
    survivor: Caller,
    die_after: Callable[[int], Sequence[str]],
    hand: Hand,
    steps: int,
) -> None:
    die_after(steps)
    redrives.cancel(dead.ctx, scope=dead.scope, redrive_id=three)
    hand.move(LEASE / 1000)
    work_on(survivor, 'survivor')
    redrive = show(dead, three)
    moved = bodies(work.everything())
    assert (redrive.status, redrive.moved) == ('cancelled', len(moved))
    assert moved + bodies(dead.everything()) == ['a', 'b', 'c']
    assert dead.stats().claimed == 0


@pytest.mark.one_store
@pytest.mark.parametrize('steps', range(1, len(STEPS) - 4))
def test_a_redrive_that_rests_for_an_hour_doubles_nothing_that_is_moved(
    three: str,
    work: Caller,
    dead: Caller,
    survivor: Caller,
    die_after: Callable[[int], Sequence[str]],
    hand: Hand,
    steps: int,
) -> None:
    die_after(steps)
    consumed = bodies(work.pop())
    # The claim of the batch has ended, too.
    hand.move(3600)
    work_on(survivor, 'survivor')
    consumed += bodies(work.pop())
    assert consumed == ['a', 'b', 'c']
    assert dead.everything() == []
