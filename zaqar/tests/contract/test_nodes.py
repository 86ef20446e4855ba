# SPDX-License-Identifier: Apache-2.0
"""One queue at several processes, and changes that stop half way."""

from __future__ import annotations

import pytest

from zaqar.controllers import queues
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import NotFound
from zaqar.objects import Record
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract.caller import Caller, Died, Mortal
from zaqar.tests.contract.probe import bodies


class Timer:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def nodes(
    ctx: Context, management: ManagementStore, store: MessageStore
) -> tuple[Caller, Caller, Timer]:
    """One queue at two processes, and the clock of their caches."""
    timer = Timer()
    here, there = (
        Caller(ctx, 'orders').by(Catalogue(management, store, timer))
        for _ in range(2)
    )
    return here, there, timer


def test_a_post_to_a_queue_deleted_elsewhere_is_not_lost(
    nodes: tuple[Caller, Caller, Timer],
) -> None:
    here, there, _ = nodes
    here.post('old')
    there.delete_queue()
    here.post('new')
    for node in nodes[:2]:
        assert bodies(node.everything()) == ['new']


def test_a_post_to_a_queue_deleted_and_made_again_elsewhere_meets_it(
    nodes: tuple[Caller, Caller, Timer],
) -> None:
    here, there, _ = nodes
    here.post('old')
    there.delete_queue()
    there.post('theirs')
    here.post('ours')
    for node in nodes[:2]:
        assert bodies(node.everything()) == ['theirs', 'ours']


def test_calls_on_a_queue_deleted_elsewhere_find_nothing(
    nodes: tuple[Caller, Caller, Timer],
) -> None:
    here, there, _ = nodes
    (one,) = here.post('old')
    there.delete_queue()
    with pytest.raises(NotFound):
        here.get(one)
    assert (here.claim(), list(here.pop())) == (None, [])
    assert here.everything() == []
    here.delete(one)


def test_settings_made_elsewhere_hold_at_once(
    nodes: tuple[Caller, Caller, Timer],
) -> None:
    here, there, _ = nodes
    here.create()
    here.post('x')
    queues.update(
        there.ctx,
        scope=there.scope,
        document=[
            {'op': 'add', 'path': '/metadata/_max_claim_count', 'value': 1},
            {
                'op': 'add',
                'path': '/metadata/_dead_letter_queue',
                'value': 'dead',
            },
        ],
    )
    here.hand_out()
    assert here.claim() is None
    assert bodies(here.other('dead').everything()) == ['x']


@pytest.mark.parametrize('steps', [0, 1])
def test_a_deletion_interrupted_after_any_step_does_no_harm(
    nodes: tuple[Caller, Caller, Timer],
    management: ManagementStore,
    store: MessageStore,
    steps: int,
) -> None:
    here, there, _ = nodes
    here.create(n=1)
    here.post('old')
    mortal = Mortal(steps)
    with pytest.raises(Died):
        here.by(mortal.catalogue(management, store)).delete_queue()
    assert mortal.changes == ['drop'][:steps]
    before = ['old'] if not steps else []
    assert bodies(there.everything()) == before
    there.post('new')
    assert bodies(here.everything()) == [*before, 'new']
    here.delete_queue()
    assert there.everything() == []


def test_a_deletion_makes_no_steps_but_two(
    nodes: tuple[Caller, Caller, Timer],
    management: ManagementStore,
    store: MessageStore,
) -> None:
    here, *_ = nodes
    here.create()
    mortal = Mortal(2)
    here.by(mortal.catalogue(management, store)).delete_queue()
    assert mortal.changes == ['drop', 'delete']


@pytest.mark.parametrize('heard', [True, False])
def test_nothing_is_posted_into_what_a_deletion_has_missed(
    nodes: tuple[Caller, Caller, Timer],
    management: ManagementStore,
    monkeypatch: pytest.MonkeyPatch,
    heard: bool,
) -> None:
    here, there, _ = nodes
    here.create()
    here.post('old')
    assert bodies(there.everything()) == ['old']
    delete = management.delete

    def slow(kind: str, *key: str) -> Record | None:
        if kind == 'queue':
            # Between the two steps somebody goes on with the queue.
            there.post('between')
        record = delete(kind, *key)
        return None if kind == 'queue' and not heard else record

    with monkeypatch.context() as patch:
        patch.setattr(management, 'delete', slow)
        here.delete_queue()
    # By what it remembers, the queue of the second post is still there.
    there.post('new')
    for node in nodes[:2]:
        assert bodies(node.everything()) == ['new']


def test_of_two_updates_at_once_none_is_lost(
    ctx: Context, management: ManagementStore, store: MessageStore
) -> None:
    catalogue = Catalogue(management, store)
    queue = Caller(ctx, 'orders')
    queue.create(n=0)
    seen = catalogue.read(queue.scope)
    assert seen is not None
    assert catalogue.update(seen, {'n': 1})
    assert not catalogue.update(seen, {'n': 2})
    record = catalogue.read(queue.scope)
    assert record is not None
    assert dict(record.metadata) == {'n': 1}


def test_a_queue_deleted_during_an_update_stays_deleted(
    ctx: Context, catalogue: Catalogue
) -> None:
    queue = Caller(ctx, 'orders')
    queue.create(n=0)
    seen = catalogue.read(queue.scope)
    assert seen is not None
    queue.delete_queue()
    assert not catalogue.update(seen, {'n': 1})
    assert catalogue.read(queue.scope) is None
