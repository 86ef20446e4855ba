# SPDX-License-Identifier: Apache-2.0
"""Which bodies go to Swift, and when they leave it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from zaqar.errors import QueueFull, QueueGone, TokenReused
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX, MessageStore
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER as SQL
from zaqar.tests.contract.probe import (
    ALICE,
    Hand,
    Probe,
    bodies,
    ids,
    message,
)
from zaqar.tests.functional.swift.objects import LARGE, SMALL, Objects
from zaqar.tests.servers.swift import Swift

DAY = 86_400


def raw(queue: Probe, *texts: bytes) -> None:
    """Post bodies that are no JSON."""
    queue.send(
        [NewMessage(text, 3600, secrets.token_hex(8), ALICE) for text in texts]
    )


def test_bodies_of_up_to_4_kib_stay_in_the_row(
    queue: Probe, objects: Objects
) -> None:
    queue.post(SMALL, 1, None)
    claim = queue.take(1)
    queue.renew(claim.id)
    queue.delete(claim.messages[0].id, claim.id)
    assert bodies(queue.pop(1)) == [1]
    queue.get(*ids(queue.walk()))
    assert objects.paths() == []
    assert objects.new_requests() == {}


def test_longer_bodies_go_to_swift_for_a_day_more_than_the_message_lives(
    queue: Probe, objects: Objects
) -> None:
    queue.post(SMALL, LARGE, ttl=600)
    (path,) = objects.paths()
    assert 600 + DAY - 60 < objects.life(path) <= 600 + DAY + 1
    assert queue.everything() == [SMALL, LARGE]


def test_every_way_out_gives_long_and_short_bodies_in_order(
    queue: Probe,
) -> None:
    sent = [LARGE + 'a', 1, LARGE + 'b', SMALL]
    posted = queue.post(*sent)
    assert bodies(queue.list().messages) == sent
    assert bodies(queue.get(*posted)) == sent
    claim = queue.take(max_claims=1)
    assert bodies(claim.messages) == sent
    stored = queue.claimed(claim.id)
    assert stored is not None
    assert bodies(stored.messages) == sent
    queue.release(claim.id)
    spent = queue.take(max_claims=1)
    assert bodies(spent.exhausted) == sent
    queue.release(spent.id)
    popped = queue.pop()
    assert bodies(popped) == sent
    assert {item.claim_id for item in popped} == {None}
    assert queue.everything() == []


@pytest.mark.parametrize('first', range(6))
@pytest.mark.parametrize('length', [1, 50, 5000])
def test_no_body_is_taken_for_a_reference(
    queue: Probe, first: int, length: int
) -> None:
    # What a reference looks like, behind each of the first bytes.
    text = (bytes([first]) + b'18c0ffee ' + b'0' * length)[: length + 1]
    raw(queue, text)
    assert [bytes(item.body) for item in queue.walk()] == [text]
    assert [bytes(item.body) for item in queue.pop()] == [text]


def test_rows_of_the_sql_driver_are_read(
    queue: Probe, rows: str, hand: Hand
) -> None:
    before = SQL.open_messages(rows, {})
    Probe(before, hand, queue.qid).post('a', LARGE)
    before.close()
    queue.post(LARGE + 'b')
    assert queue.everything() == ['a', LARGE, LARGE + 'b']


def test_an_object_goes_when_its_message_is_deleted(
    queue: Probe, objects: Objects
) -> None:
    posted = queue.post(*(f'{LARGE}{number}' for number in range(5)))
    claim = queue.take(1)
    assert len(objects.paths()) == 5
    queue.delete(posted[0], claim.id)
    objects.become(4)
    queue.delete(posted[1])
    objects.become(3)
    queue.delete_many(posted[2])
    objects.become(2)
    assert len(queue.pop()) == 2
    objects.become(0)


def test_a_refused_deletion_leaves_the_object(
    queue: Probe, objects: Objects
) -> None:
    (posted,) = queue.post(LARGE)
    queue.take(1)
    with pytest.raises(Exception, match='claimed'):
        queue.delete(posted)
    assert bodies(queue.get(posted)) == [LARGE]
    assert len(objects.paths()) == 1


def test_all_objects_go_when_their_queue_is_dropped(
    queue: Probe, store: MessageStore, objects: Objects
) -> None:
    queue.post(*(f'{LARGE}{number}' for number in range(5)))
    other = Probe(store, queue.hand)
    other.post(LARGE)
    assert len(objects.paths()) == 5
    queue.drop()
    objects.become(0)
    assert other.everything() == [LARGE]


def test_a_purge_leaves_objects_to_expire_and_new_messages_alone(
    queue: Probe, objects: Objects
) -> None:
    queue.post(LARGE)
    queue.purge()
    queue.post(LARGE)
    assert queue.everything() == [LARGE]
    assert all(
        objects.life(path) <= 3600 + DAY + 1 for path in objects.become(2)
    )


def test_a_post_into_a_full_queue_leaves_no_object(
    queue: Probe, objects: Objects
) -> None:
    queue.post(1, limit=2)
    with pytest.raises(QueueFull):
        queue.post(LARGE, LARGE, limit=2)
    objects.become(0)
    assert queue.everything() == [1]


def test_what_is_not_stored_leaves_no_object(
    queue: Probe, objects: Objects
) -> None:
    def post(*names: str, **options: Any) -> Sequence[str]:
        texts = [f'{LARGE}{name}' for name in names]
        pairs = zip(texts, names, strict=True)
        new = [message(text, dedup_id=name) for text, name in pairs]
        return queue.send(new, dedup_window=300, **options)

    key = {'token': 'key', 'fingerprint': 'a'}
    posted = post('a', 'b', 'a', **key)
    objects.become(2)
    assert post('b', 'c')[0] == posted[1]
    objects.become(3)
    # A client has sent it again.
    assert post('a', 'b', 'a', **key) == posted
    objects.become(3)
    with pytest.raises(TokenReused):
        post('d', token='key', fingerprint='b')
    objects.become(3)
    assert queue.everything() == [f'{LARGE}{name}' for name in 'abc']


def test_a_post_into_a_dropped_queue_leaves_no_object(
    queue: Probe, objects: Objects
) -> None:
    queue.post(1)
    queue.drop()
    with pytest.raises(QueueGone):
        queue.post(LARGE)
    objects.become(0)


def test_a_repeated_post_writes_the_same_objects(
    queue: Probe, objects: Objects
) -> None:
    sent = [message(LARGE), message(1), message(LARGE)]
    first = queue.send(sent, token='again')
    paths = objects.paths()
    queue.hand.move(1)
    assert queue.send(sent, token='again') == first
    assert len(paths) == 2
    assert objects.paths() == paths
    assert queue.everything() == [LARGE, 1, LARGE]


def test_alike_messages_have_objects_of_their_own(
    queue: Probe, objects: Objects
) -> None:
    first, second, third = queue.post(LARGE, LARGE) + queue.post(LARGE)
    queue.delete(first)
    objects.become(2)
    assert bodies(queue.get(first, second, third)) == [LARGE] * 2


def test_a_letter_that_comes_again_is_not_lost_with_its_former_self(
    queue: Probe, objects: Objects
) -> None:
    letter = message(LARGE, id='0' * 15 + '1' + 'a' * 16)
    (name,) = queue.send([letter], token='first place')
    queue.delete(name)
    queue.send([letter], token='second place')
    objects.become(1)
    assert bodies(queue.get(name)) == [LARGE]


def test_a_claim_that_outlives_the_object_prolongs_its_life(
    queue: Probe, objects: Objects
) -> None:
    queue.post(LARGE, ttl=60)
    (path,) = objects.paths()
    claim = queue.take(ttl=300, grace=60)
    queue.renew(claim.id, ttl=300, grace=60)
    # So far the day is long enough.
    assert 'POST' not in objects.new_requests()
    queue.renew(claim.id, ttl=43_200, grace=43_200)
    assert objects.new_requests()['POST'] == 1
    assert objects.life(path) > DAY + 86_000
    queue.hand.move(2 * 43_200 - 1)
    assert bodies(queue.get(claim.messages[0].id)) == [LARGE]


def test_a_body_that_is_missing_hides_its_message_alone(
    queue: Probe, objects: Objects
) -> None:
    lost, *_ = queue.post(LARGE)
    (path,) = objects.paths()
    queue.post(LARGE + 'b', 'c')
    objects.remove(path)
    rest = [LARGE + 'b', 'c']
    assert queue.everything() == rest
    assert queue.get(lost) == []
    assert bodies(queue.walk(1)) == rest
    assert queue.stats().total == 3


def test_messages_behind_a_missing_body_are_claimed(
    queue: Probe, objects: Objects
) -> None:
    queue.post(LARGE, LARGE)
    for path in objects.paths():
        objects.remove(path)
    queue.post('c', 'd')
    claim = queue.take(1, claim_id='mine')
    assert bodies(claim.messages) == ['c']
    again = queue.take(1, claim_id='mine')
    assert again == claim
    queue.delete(claim.messages[0].id, claim.id)
    assert queue.claimed('mine') is None
    assert bodies(queue.pop(1)) == ['d']
    assert queue.claim() is None
    # Should the objects come back, so do the messages.
    assert queue.stats().total == 2


def test_internal_queues_keep_their_bodies_in_rows(
    store: MessageStore, hand: Hand, swift: Swift
) -> None:
    inner = Probe(store, hand, f'{OUTBOX}.test')
    before = swift.requests()
    inner.post(LARGE, LARGE)
    assert bodies(inner.take(1).messages) == [LARGE]
    assert bodies(inner.pop(1)) == [LARGE]
    assert swift.requests() == before


def test_a_notice_is_left_with_a_long_message(
    queue: Probe, store: MessageStore
) -> None:
    notice = structs.replace(message('notice'), client='')
    store.post(
        queue.qid,
        [message(LARGE)],
        now=queue.hand.now,
        token='t',
        notice=lambda _: notice,
    )
    outbox = Probe(store, queue.hand, OUTBOX)
    assert outbox.everything() == ['notice']
    store.unmark_subscribed(
        queue.qid, store.subscribed_epoch(queue.qid, now=0), now=queue.hand.now
    )
    assert store.subscribed_epoch(queue.qid, now=0) == 0
    store.mark_subscribed(queue.qid, now=queue.hand.now)
    assert store.subscribed_epoch(queue.qid, now=0) > 1


def test_large_bodies_count_among_those_that_a_queue_holds(
    queue: Probe, hand: Hand
) -> None:
    def held() -> int:
        size = queue.store.held_bytes([queue.qid], now=hand.now)
        assert size is not None
        return size

    queue.post('first')
    # From here on it counts.
    before = held()
    ids = queue.post('x' * 99_998, 'y' * 99_998)
    assert 200_000 <= held() - before <= 200_200
    queue.delete(ids[0])
    # With the mean of what is there.
    assert 100_000 <= held() <= 150_000
