# SPDX-License-Identifier: Apache-2.0
"""A Swift that is down, silent, or wants us to log in again."""

from __future__ import annotations

import base64
import contextlib
import pathlib
import re
import secrets
from collections.abc import Callable
from functools import partial

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.swift import connections
from zaqar.tests.contract.crowd import each, ends_within, timed
from zaqar.tests.contract.probe import Hand, Probe, message
from zaqar.tests.functional.swift.conftest import Open
from zaqar.tests.functional.swift.objects import LARGE, Objects
from zaqar.tests.servers.swift import Swift

#: Seconds within which a caller must know.
BOUND = 5.0

#: Seconds for what is slow on a busy machine.
PATIENCE = 30.0

OUTAGES = {
    'no proxy': lambda swift: swift.down('proxy'),
    'no object server': lambda swift: swift.down('object'),
    'silent proxy': lambda swift: swift.silent('proxy'),
    'silent object server': lambda swift: swift.silent('object'),
}


@pytest.fixture(params=OUTAGES)
def outage(
    request: pytest.FixtureRequest, swift: Swift
) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """An outage that is to come."""
    return partial(OUTAGES[request.param], swift)


def unavailable(*works: Callable[[], object]) -> None:
    """Check that all works, at once, find the store unavailable in time."""
    with ends_within(BOUND):
        results = each(timed, works)
    for _, error in results:
        assert isinstance(error, StoreUnavailable), repr(error)


def test_calls_that_need_swift_are_unavailable_within_five_seconds(
    queue: Probe,
    outage: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    posted = queue.post(LARGE, LARGE, 'c')
    with outage():
        unavailable(
            partial(queue.post, 'a', LARGE),
            queue.list,
            partial(queue.get, *posted),
        )
        # Each alone: one that holds messages would hide them from the other.
        unavailable(queue.claim)
        unavailable(queue.pop)
    assert queue.everything() == [LARGE, LARGE, 'c']
    assert len(queue.take().messages) == 3


def test_small_messages_come_and_go_without_swift(
    queue: Probe,
    outage: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    with outage():
        (posted,) = queue.post('a')
        assert queue.everything() == ['a']
        claim = queue.take()
        queue.renew(claim.id)
        queue.delete(posted, claim.id)


def test_ping_notices_an_outage(store: MessageStore, swift: Swift) -> None:
    store.ping()
    with swift.down('proxy'):
        unavailable(store.ping)
    store.ping()


def test_a_post_that_failed_leaves_no_part_and_may_be_repeated(
    queue: Probe, swift: Swift, objects: Objects
) -> None:
    sent = [message('a'), message(LARGE)]
    post = partial(queue.send, sent, token='t')
    with swift.down('object'):
        unavailable(post)
        assert queue.everything() == []
    assert post() == post()
    assert queue.everything() == ['a', LARGE]
    assert len(queue.pop()) == 2
    objects.become(0)


def test_what_is_deleted_during_an_outage_stays_deleted(
    queue: Probe, swift: Swift, objects: Objects
) -> None:
    (posted,) = queue.post(LARGE)
    with swift.down('object'):
        queue.delete(posted)
        assert queue.stats().total == 0
    assert queue.everything() == []


def test_an_outage_makes_no_dead_letters(queue: Probe, swift: Swift) -> None:
    queue.post(LARGE)
    with swift.down('object'):
        for _ in range(5):
            unavailable(partial(queue.claim, max_claims=3))
            unavailable(queue.pop)
    claim = queue.take(max_claims=3)
    assert claim.exhausted == []
    # None that failed has counted.
    assert claim.messages[0].claim_count == 1


def test_forty_callers_at_once_know_within_five_seconds(
    queue: Probe, swift: Swift
) -> None:
    with swift.silent('proxy'):
        unavailable(*[partial(queue.post, LARGE)] * 40)
    queue.post(LARGE)
    assert queue.everything() == [LARGE]


def test_a_store_is_opened_while_swift_is_down(
    opened: Open, swift: Swift, hand: Hand
) -> None:
    with swift.down('proxy'):
        late = Probe(opened(), hand)
        unavailable(partial(late.post, LARGE))
    late.post(LARGE)
    assert late.everything() == [LARGE]


@pytest.fixture
def patient(
    opened: Open, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> Probe:
    """A queue that a Swift which has just started may serve slowly."""
    monkeypatch.setattr(connections, 'TIMEOUTS', (1.0, PATIENCE))
    return Probe(opened(timeout=PATIENCE), hand)


def test_a_proxy_that_was_started_again_is_used_at_once(
    patient: Probe, swift: Swift
) -> None:
    each(lambda number: patient.post(f'{LARGE}{number}'), range(8))
    with swift.down('proxy'):
        pass
    patient.post(LARGE)
    assert len(patient.everything()) == 9


def forget_tokens(swift: Swift) -> None:
    """Let the proxy know no token that it has given so far."""
    conf = swift.folder / 'proxy-server.conf'
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    new = re.sub(
        'fernet_key_1 = .*', f'fernet_key_1 = {key}', conf.read_text()
    )
    conf.write_text(new)
    with swift.down('proxy'):
        pass


def test_who_is_not_known_any_more_logs_in_again(
    patient: Probe, swift: Swift
) -> None:
    patient.post(LARGE)
    forget_tokens(swift)
    assert patient.everything() == [LARGE]
    forget_tokens(swift)
    patient.post(LARGE)


def test_connections_are_kept_bounded_and_given_back(
    opened: Open, swift: Swift, hand: Hand
) -> None:
    before = connected(swift.port)
    store = opened(max_connections=3)
    queue = Probe(store, hand)
    for _ in range(3):
        queue.post(*[LARGE] * 12)
        assert len(queue.everything()) % 12 == 0
    first = connected(swift.port) - before
    # One is that of the session, which has logged in.
    assert 1 <= len(first) <= 3 + 1
    queue.everything()
    assert connected(swift.port) - before == first
    store.close()
    assert not connected(swift.port) & first


def connected(port: int) -> set[str]:
    """Return our ends of the connections to a port of 127.0.0.1."""
    ends = set()
    remote = f'0100007F:{port:04X}'
    for line in pathlib.Path('/proc/self/net/tcp').read_text().splitlines():
        fields = line.split()
        # Established, and not the object servers' own.
        if fields[2] == remote and fields[3] == '01':
            ends.add(fields[1])
    return ends
