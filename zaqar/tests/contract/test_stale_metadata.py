# SPDX-License-Identifier: Apache-2.0
"""Metadata that was changed elsewhere is never used after the answer."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import structs

from zaqar.controllers import queues
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_encryption import Cipher, is_encrypted
from zaqar.errors import InvalidRequest, QueueFull, QueueGone, StaleMetadata
from zaqar.objects import NewMessage
from zaqar.pools import queue_catalogue as catalogues
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract.caller import Caller, Died, Mortal
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import Hand, Probe, bodies, message, token


class Versioned(Probe):
    """A queue whose calls name the version of its metadata."""

    def put(
        self,
        version: int | None,
        *,
        name: str | None = None,
        limit: int = 0,
        notice: Callable[[], NewMessage] | None = None,
    ) -> list[str]:
        ids = self.store.post(
            self.qid,
            [message('x')],
            now=self.hand.now,
            token=name or secrets.token_hex(16),
            limit=limit,
            notice=notice,
            version=version,
        )
        return list(ids)

    def hold(
        self, version: int | None, name: str | None = None, most: int = 0
    ) -> list[Any]:
        claim = self.store.claim(
            self.qid,
            now=self.hand.now,
            claim_id=name or token(),
            ttl=60,
            grace=60,
            limit=10,
            max_claims=most,
            version=version,
        )
        return bodies(claim.messages) if claim else []


@pytest.fixture
def queue(store: MessageStore, hand: Hand) -> Versioned:
    return Versioned(store, hand)


@pytest.fixture
def there(beside: MessageStore, queue: Versioned) -> Versioned:
    """The same queue as another process has it."""
    return Versioned(beside, queue.hand, queue.qid)


def _notice(_: Sequence[int]) -> NewMessage:
    return message('told')


OPTIONS: list[dict[str, Any]] = [{}, {'limit': 9}, {'notice': _notice}]


@pytest.mark.parametrize('used', [False, True])
def test_a_queue_takes_any_version_at_first(
    queue: Versioned, used: bool
) -> None:
    if used:
        queue.post('x')
    queue.put(0)
    queue.put(None)
    assert len(queue.hold(0)) == 2 + used


@pytest.mark.parametrize(
    'options', OPTIONS, ids=lambda options: ''.join(options)
)
@pytest.mark.parametrize('used', [False, True])
def test_a_post_with_old_metadata_stores_nothing(
    queue: Versioned, there: Versioned, used: bool, options: dict[str, Any]
) -> None:
    if used:
        there.put(2, **options)
    queue.require(3)
    with pytest.raises(StaleMetadata):
        there.put(2, **options)
    with pytest.raises(StaleMetadata):
        queue.put(0, **options)
    assert there.stats().total == used
    there.put(3, **options)
    queue.put(4, **options)
    there.put(None, **options)
    assert there.stats().total == used + 3


@pytest.mark.parametrize('most', [0, 1])
def test_a_claim_with_old_metadata_takes_nothing(
    queue: Versioned, there: Versioned, most: int
) -> None:
    queue.post('a', 'b')
    assert there.hold(1, most=most) == ['a', 'b']
    there.hand.move(60)
    queue.require(2)
    with pytest.raises(StaleMetadata):
        there.hold(1, most=most)
    stats = queue.stats()
    assert (stats.free, stats.claimed) == (2, 0)
    assert all(item.claim_count == 1 for item in queue.walk())
    held = there.store.claim(
        there.qid,
        now=there.hand.now,
        claim_id=token(),
        ttl=60,
        grace=60,
        limit=10,
        max_claims=most,
        version=2,
    )
    assert held is not None
    assert bodies([*held.messages, *held.exhausted]) == ['a', 'b']


def test_an_empty_queue_refuses_old_claims_too(
    queue: Versioned, there: Versioned
) -> None:
    queue.require(2)
    with pytest.raises(StaleMetadata):
        there.hold(1)
    assert there.hold(2) == []


def test_a_requirement_is_never_lowered(queue: Versioned) -> None:
    queue.require(5)
    queue.require(3)
    with pytest.raises(StaleMetadata):
        queue.put(4)
    queue.put(5)


def test_a_purge_keeps_the_requirement(queue: Versioned) -> None:
    queue.post('x')
    queue.require(2)
    queue.purge()
    with pytest.raises(StaleMetadata):
        queue.put(1)


def test_a_dropped_queue_is_gone_and_not_outdated(queue: Versioned) -> None:
    queue.require(2)
    queue.drop()
    with pytest.raises(QueueGone):
        queue.put(1)
    with pytest.raises(QueueGone):
        queue.require(3)


def test_what_was_stored_before_is_stored_once(queue: Versioned) -> None:
    name = token()
    first = queue.put(1, name=name)
    queue.require(2)
    assert queue.put(2, name=name) == first
    assert queue.stats().total == 1


def test_a_claim_made_before_is_found_again(queue: Versioned) -> None:
    queue.post('x')
    name = token()
    assert queue.hold(1, name) == ['x']
    queue.require(2)
    assert queue.hold(2, name) == ['x']


def test_one_old_post_among_others_is_refused_alone(
    queue: Versioned, there: Versioned
) -> None:
    queue.require(2)

    def work(number: int) -> bool:
        try:
            (there if number % 2 else queue).put(1 + number % 4 // 2)
        except StaleMetadata:
            return False
        return True

    # Even where posts that meet are stored together.
    done = each(work, range(16))
    assert done == [number % 4 // 2 == 1 for number in range(16)]
    assert queue.stats().total == 8


def _changed(queue: Caller, **metadata: Any) -> None:
    changes = [
        {'op': 'add', 'path': f'/metadata/{key}', 'value': value}
        for key, value in metadata.items()
    ]
    queues.update(queue.ctx, scope=queue.scope, document=changes)


@pytest.fixture
def nodes(
    ctx: Context, management: ManagementStore, store: MessageStore
) -> tuple[Caller, Caller]:
    """A queue as two processes know it."""
    ctx = structs.replace(
        ctx,
        cipher=Cipher({'1': 'sixteen letters!'}),
        limits=Limits(can_encrypt=True),
    )
    here = Caller(ctx, 'jobs')
    there = here.by(Catalogue(management, store))
    here.create()
    for node in (here, there):
        assert node.ctx.catalogue.find(node.scope) is not None
    return here, there


def _stored(caller: Caller) -> list[bytes]:
    catalogue = caller.ctx.catalogue
    queue = catalogue.read(caller.scope)
    assert queue is not None
    store = catalogue.store(queue)
    page = store.list(queue.qid, now=store.clock.now(), limit=100)
    return [item.body for item in page.messages]


@pytest.mark.proves('encryption without delay')
def test_encryption_is_never_late(nodes: tuple[Caller, Caller]) -> None:
    here, there = nodes
    there.post('before')
    for _ in range(3):
        _changed(here, _enable_encrypt_messages=True)
        there.post('secret')
        assert is_encrypted(_stored(here)[-1])
        _changed(there, _enable_encrypt_messages=False)
        here.post('open')
        assert not is_encrypted(_stored(here)[-1])
    assert bodies(here.everything())[:3] == ['before', 'secret', 'open']


@pytest.mark.proves('encryption without delay')
def test_an_encrypted_queue_made_meanwhile_stores_nothing_in_the_clear(
    nodes: tuple[Caller, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes[0].other('new'), nodes[1].other('new')
    find = there.ctx.catalogue.find
    looks = []

    def late(scope: Any) -> Any:
        looks.append(find(scope))
        if len(looks) == 1:
            here.create(_enable_encrypt_messages=True)
        return looks[-1]

    monkeypatch.setattr(there.ctx.catalogue, 'find', late)
    there.post('secret')
    assert looks[0] is None
    assert all(map(is_encrypted, _stored(here)))


def test_new_defaults_count_at_once(nodes: tuple[Caller, Caller]) -> None:
    here, there = nodes
    _changed(here, _default_message_ttl=60, _default_message_delay=30)
    (posted,) = there.post('x')
    assert there.get(posted).ttl == 60
    assert there.claim() is None


def test_a_new_maximum_size_counts_at_once(
    nodes: tuple[Caller, Caller],
) -> None:
    here, there = nodes
    there = Caller(structs.replace(there.ctx, size=100), 'jobs')
    there.post('x')
    _changed(here, _max_messages_post_size=99)
    with pytest.raises(InvalidRequest):
        there.post('x')
    _changed(here, _max_messages=1, _max_messages_post_size=100)
    with pytest.raises(QueueFull):
        there.post('x')


def test_a_new_maximum_of_claims_counts_at_once(
    nodes: tuple[Caller, Caller], hand: Hand
) -> None:
    here, there = nodes
    there.post('x')
    _changed(here, _dead_letter_queue='dead', _max_claim_count=1)
    assert there.claim(ttl=60) is not None
    hand.move(60)
    assert there.claim() is None
    assert bodies(there.other('dead').everything()) == ['x']


@pytest.mark.proves('encryption without delay')
def test_a_dead_letter_obeys_its_new_queue(
    nodes: tuple[Caller, Caller], hand: Hand
) -> None:
    here, there = nodes
    dead = here.other('dead')
    dead.create()
    there.ctx.catalogue.find(dead.scope)
    _changed(here, _dead_letter_queue='dead', _max_claim_count=1)
    there.post('x')
    there.claim(ttl=60)
    hand.move(60)
    _changed(dead, _enable_encrypt_messages=True)
    assert there.claim() is None
    assert all(map(is_encrypted, _stored(dead)))
    assert bodies(dead.everything()) == ['x']


def test_a_queue_made_again_begins_anew(nodes: tuple[Caller, Caller]) -> None:
    here, there = nodes
    _changed(here, _default_message_ttl=60)
    here.delete_queue()
    here.create(_default_message_ttl=90)
    (posted,) = there.post('x')
    assert there.get(posted).ttl == 90


def test_a_change_that_was_given_up_keeps_nobody_out(
    nodes: tuple[Caller, Caller],
    management: ManagementStore,
    store: MessageStore,
) -> None:
    here, there = nodes
    mortal = Mortal(1)
    with pytest.raises(Died):
        _changed(
            here.by(mortal.catalogue(management, store)),
            _default_message_ttl=60,
        )
    assert mortal.changes == ['require_version']
    (posted,) = there.post('x')
    assert there.get(posted).ttl == 3600
    here.post('y')
    assert here.claim() is not None
    _changed(here, _default_message_ttl=60)
    (posted,) = there.post('z')
    assert there.get(posted).ttl == 60


def test_a_change_waits_for_nobody_and_is_not_lost(
    nodes: tuple[Caller, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    management = here.ctx.catalogue.management
    replace = management.replace
    rivals, seen = iter([there]), list[int]()

    def late(*arguments: Any, **options: Any) -> bool:
        for rival in rivals:
            # Another process loses patience with the change.
            seen.append(rival.get(*rival.post('x')).ttl)
        return replace(*arguments, **options)

    monkeypatch.setattr(management, 'replace', late)
    monkeypatch.setattr(catalogues, 'PAUSES', ())
    _changed(here, _default_message_ttl=60)
    assert seen == [3600]
    assert there.get(*there.post('y')).ttl == 60


def test_records_older_than_the_messages_catch_up(
    nodes: tuple[Caller, Caller],
    store: MessageStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogues, 'PAUSES', ())
    here, there = nodes
    queue = here.ctx.catalogue.read(here.scope)
    assert queue is not None
    # As after a restored backup of the management store.
    store.require_version(queue.qid, queue.version + 3, now=store.clock.now())
    there.post('x')
    assert bodies(here.everything()) == ['x']
