# SPDX-License-Identifier: Apache-2.0
"""Outages: refused, silent or cut connections, and a locked file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from zaqar import request_deadline
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import StoreUnavailable
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract.caller import Caller
from zaqar.tests.contract.conftest import settles
from zaqar.tests.contract.crowd import each, starvation, timed
from zaqar.tests.contract.harnesses import Feature, Harness
from zaqar.tests.contract.probe import Hand, Probe, deleted, ids, token
from zaqar.tests.contract.proxy import Proxy, Way

#: Seconds within which a caller must know.
BOUND = 5.0

#: Seconds of a request, and those by which a call may be late.
REQUEST = 1.0
LATE = 1.2

#: Answers to one call; none has so many.
MOST = 60

#: Calls of a message store, those first that change something.
CHANGES: dict[str, Callable[[Probe], object]] = {
    'post': lambda queue: queue.post('x'),
    'post with a limit': lambda queue: queue.post('x', limit=9),
    'delete': lambda queue: queue.delete('0' * 32),
    'delete with a claim': lambda queue: queue.delete('0' * 32, token()),
    'delete_many': lambda queue: queue.delete_many('0' * 32),
    'pop': lambda queue: queue.pop(),
    'claim': lambda queue: queue.claim(),
    'claim with a maximum': lambda queue: queue.claim(max_claims=3),
    'renew': lambda queue: queue.renew(token()),
    'release': lambda queue: queue.release(token()),
    'settle': lambda queue: queue.settle(token(), deleted('0' * 32)),
    'purge': lambda queue: queue.purge(),
    'require_version': lambda queue: queue.store.require_version(
        queue.qid, 2, now=queue.hand.now
    ),
    'drop': lambda queue: queue.drop(),
    'sweep': lambda queue: queue.store.sweep(now=queue.hand.now, batch=1),
}
READS: dict[str, Callable[[Probe], object]] = {
    'ping': lambda queue: queue.store.ping(),
    'list': lambda queue: queue.list(),
    'get': lambda queue: queue.get('0' * 32),
    'claimed': lambda queue: queue.claimed(token()),
    'stats': lambda queue: queue.stats(),
    'availability': lambda queue: queue.availability(),
}
CALLS = {**CHANGES, **READS}

RECORD_CHANGES: dict[str, Callable[[ManagementStore], object]] = {
    'create': lambda store: store.create('queue', 'p', token(), {}),
    'replace': lambda store: store.replace('queue', 'p', 'a', {}, version=1),
    'delete': lambda store: store.delete('queue', 'p', 'a'),
}
RECORD_READS: dict[str, Callable[[ManagementStore], object]] = {
    'ping': lambda store: store.ping(),
    'get': lambda store: store.get('queue', 'p', 'a'),
    'list': lambda store: store.list('queue', 'p', after=None, limit=1),
    'count': lambda store: store.count('queue', 'p'),
}
RECORD_CALLS = {**RECORD_CHANGES, **RECORD_READS}

tcp = pytest.mark.needs(Feature.ENDPOINT)


@pytest.fixture
def queue(queue: Probe) -> Probe:
    """A queue that holds something."""
    queue.post('old')
    return queue


@pytest.fixture
def far(distant: MessageStore, queue: Probe) -> Probe:
    """The queue as seen through the proxy, connected."""
    distant.ping()
    return Probe(distant, queue.hand, queue.qid)


def begin(kind: str, proxy: Proxy) -> None:
    """Begin an outage."""
    if kind == 'refused':
        proxy.cut()
    else:
        proxy.stall()


def unavailable(works: list[Callable[[], object]]) -> None:
    """Check that all works, at once, find the store unavailable in time.

    For how long the machine was busy with others does not count.
    """
    with starvation() as starved:
        results = dict(enumerate(each(timed, works)))
        bound = BOUND + starved()
    assert {
        place: str(error)
        for place, (_, error) in results.items()
        if not isinstance(error, StoreUnavailable)
    } == {}
    slow = {place: took for place, (took, _) in results.items()}
    assert {place: took for place, took in slow.items() if took > bound} == {}


def in_request(work: Callable[[], object]) -> None:
    """Do what takes several calls, as the dispatch of a request does."""
    with request_deadline.within(request_deadline.REQUEST):
        work()


def one_request(works: list[Callable[[], object]]) -> None:
    """Check that all works, one by one, share the deadline of a request."""

    def run() -> None:
        with request_deadline.within(REQUEST):
            for work in works:
                with pytest.raises(StoreUnavailable):
                    work()

    with starvation() as starved:
        took, error = timed(run)
        assert error is None
        assert took < REQUEST + LATE + starved()


@tcp
@pytest.mark.parametrize('kind', ['refused', 'silent'])
def test_every_call_raises_store_unavailable_within_five_seconds(
    far: Probe,
    distant_records: ManagementStore,
    ctx: Context,
    proxy: Proxy,
    kind: str,
) -> None:
    catalogue = Catalogue(distant_records, far.store)
    existing, unknown = (
        Caller(ctx, name).by(catalogue) for name in ('known', 'unknown')
    )
    begin(kind, proxy)
    unavailable(
        [
            *(partial(call, far) for call in CALLS.values()),
            *(
                partial(call, distant_records)
                for call in RECORD_CALLS.values()
            ),
            *(
                partial(in_request, call)
                for one in (existing, unknown)
                for call in (partial(one.post, 'new'), one.claim)
            ),
            far.store.clock.now,
            distant_records.clock.now,
            catalogue.ping,
        ]
    )
    proxy.restore()
    existing.post('new')


@tcp
@pytest.mark.parametrize('kind', ['refused', 'silent'])
def test_the_calls_of_a_request_have_one_deadline(
    far: Probe, distant_records: ManagementStore, proxy: Proxy, kind: str
) -> None:
    distant_records.ping()
    begin(kind, proxy)
    one_request(
        [
            partial(RECORD_CALLS['get'], distant_records),
            partial(CALLS['claim'], far),
            partial(CALLS['post'], far),
            partial(RECORD_CALLS['create'], distant_records),
            partial(CALLS['list'], far),
        ]
    )


@tcp
def test_a_call_in_the_background_has_its_own_limit(
    far: Probe, proxy: Proxy
) -> None:
    with request_deadline.within(REQUEST):
        far.list()
    far.list()
    begin('silent', proxy)
    unavailable([far.list])
    proxy.restore()
    far.list()


@tcp
@pytest.mark.parametrize('limit', [0, 999])
def test_a_server_that_falls_silent_during_a_post_is_unavailable(
    far: Probe, queue: Probe, proxy: Proxy, limit: int
) -> None:
    for number in range(MOST):
        post = partial(far.post, 'a', 'b', token=token(), limit=limit)
        far.store.ping()
        proxy.blow(Way.ANSWER, number, stall=True)
        with request_deadline.within(REQUEST):
            _, error = timed(post)
        is_silent = proxy.defuse()
        proxy.restore()
        assert error is None or isinstance(error, StoreUnavailable)
        post()
        assert queue.everything() == ['old', *['a', 'b'] * (number + 1)]
        if error is None and not is_silent:
            return
    raise AssertionError('the post does not come to an end')


@tcp
@pytest.mark.parametrize('kind', ['refused', 'silent'])
def test_forty_callers_at_once_know_within_five_seconds(
    far: Probe, proxy: Proxy, kind: str
) -> None:
    # As many connections as there will be; a busy machine opens some late.
    each(timed, [far.list] * 40)
    far.list()
    begin(kind, proxy)
    unavailable([partial(CALLS['post'], far)] * 40)


@tcp
@pytest.mark.parametrize('kind', ['refused', 'silent'])
def test_a_store_may_be_opened_during_an_outage(
    harness: Harness,
    uri: str,
    queue: Probe,
    proxy: Proxy,
    kind: str,
) -> None:
    begin(kind, proxy)
    store = harness.open_messages(harness.via(uri, proxy.port))
    late = Probe(store, queue.hand, queue.qid)
    unavailable([store.ping, late.list, partial(late.post, 'x')])
    proxy.restore()
    late.post('new')
    assert late.everything() == ['old', 'new']
    store.close()


@tcp
@pytest.mark.parametrize('call', CALLS)
def test_the_first_call_after_a_short_outage_succeeds(
    far: Probe, proxy: Proxy, call: str
) -> None:
    each(lambda work: work(far), [CALLS['list']] * 4)
    proxy.cut()
    proxy.restore()
    CALLS[call](far)


@tcp
@pytest.mark.parametrize('call', RECORD_CALLS)
def test_the_first_call_on_records_after_a_short_outage_succeeds(
    distant_records: ManagementStore, proxy: Proxy, call: str
) -> None:
    distant_records.ping()
    proxy.cut()
    proxy.restore()
    RECORD_CALLS[call](distant_records)


@tcp
def test_a_post_that_was_refused_leaves_nothing(
    far: Probe, queue: Probe, proxy: Proxy
) -> None:
    proxy.cut()
    unavailable([partial(far.post, 'new')])
    proxy.restore()
    assert queue.everything() == ['old']


@tcp
def test_what_is_repeated_after_a_silence_is_done_once(
    harness: Harness, uri: str, far: Probe, store: MessageStore, proxy: Proxy
) -> None:
    near = [Probe(store, far.hand) for _ in range(3)]
    for queue in near:
        queue.post('old')
    posted, limited, claimed = (
        Probe(far.store, far.hand, queue.qid) for queue in near
    )
    again = [
        partial(posted.post, 'a', 'b', token=token()),
        partial(limited.post, 'a', 'b', token=token(), limit=9),
        partial(claimed.take, 1, claim_id=token(), max_claims=5),
    ]
    proxy.stall()
    unavailable([*again])
    proxy.restore()
    answers = [call() for call in again]
    # What the server was sent before may reach it as late as this.
    proxy.deliver()
    settles(lambda: harness.transactions(uri), 0)
    assert [call() for call in again] == answers
    for queue in near[:2]:
        assert queue.everything() == ['old', 'a', 'b']
    (message,) = near[2].walk(include_claimed=True)
    assert message.claim_count == 1


@pytest.mark.needs(Feature.FILE)
def test_every_change_of_a_locked_file_is_refused_within_five_seconds(
    harness: Harness, uri: str, queue: Probe, management: ManagementStore
) -> None:
    with harness.locked(uri):
        unavailable(
            [
                *(partial(call, queue) for call in CHANGES.values()),
                *(
                    partial(call, management)
                    for call in RECORD_CHANGES.values()
                ),
            ]
        )
    assert queue.everything() == ['old']


@pytest.mark.needs(Feature.FILE)
def test_the_changes_of_a_request_share_a_deadline_with_a_locked_file(
    harness: Harness, uri: str, queue: Probe, management: ManagementStore
) -> None:
    with harness.locked(uri):
        one_request(
            [
                partial(CALLS['post'], queue),
                partial(RECORD_CALLS['create'], management),
                partial(CALLS['claim'], queue),
            ]
        )
    queue.post('new')


@pytest.mark.needs(Feature.FILE)
def test_a_locked_file_is_read_as_ever(
    harness: Harness, uri: str, queue: Probe, management: ManagementStore
) -> None:
    with harness.locked(uri):
        for call in READS.values():
            call(queue)
        for read in RECORD_READS.values():
            read(management)
        assert queue.everything() == ['old']


@pytest.mark.needs(Feature.FILE)
def test_a_post_repeated_after_a_lock_is_stored_once(
    harness: Harness, uri: str, queue: Probe, hand: Hand
) -> None:
    again = partial(queue.post, 'a', 'b', token=token())
    with harness.locked(uri):
        unavailable([again])
    assert again() == again()
    assert queue.everything() == ['old', 'a', 'b']
    assert ids(queue.take().messages) == ids(queue.walk(include_claimed=True))
