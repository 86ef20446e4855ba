# SPDX-License-Identifier: Apache-2.0
"""python-zaqarclient against the running service."""

from __future__ import annotations

from typing import Any

import pytest
from zaqarclient.queues import client
from zaqarclient.transport import errors

from zaqar.tests.servers.zaqar import Zaqar

ME = '3381af92-2b9e-11e3-b191-71861300734c'
OTHER = '3381af922b9e11e3b19171861300734d'


def connect(zaqar: Zaqar, project: str, client_id: str = ME) -> Any:
    """Return a client."""
    conf = {
        'auth_opts': {
            'backend': 'noauth',
            'options': {'os_project_id': project},
        },
        'client_uuid': client_id,
    }
    return client.Client(zaqar.url, version=2, conf=conf)


@pytest.fixture
def mine(zaqar: Zaqar, project: str) -> Any:
    return connect(zaqar, project)


@pytest.fixture
def other(zaqar: Zaqar, project: str) -> Any:
    return connect(zaqar, project, OTHER)


def _fill(queue: Any, *bodies: Any, **fields: Any) -> list[str]:
    answer = queue.post([{'body': body, **fields} for body in bodies])
    return [path.split('/')[-1] for path in answer['resources']]


def _queues(connected: Any, **params: Any) -> Any:
    queues, _count = connected.queues(**params)
    return queues


def _bodies(messages: Any) -> list[Any]:
    return [message.body for message in messages]


def test_it_pings_and_reads_the_home_document(mine: Any) -> None:
    assert mine.ping()
    assert 'rel/queues' in mine.homedoc()['resources']


def test_a_queue_is_created_listed_and_deleted(mine: Any) -> None:
    for name in ('a', 'b', 'c'):
        mine.queue(name, force_create=True)
    assert mine.queue('a').exists()
    assert [queue.name for queue in _queues(mine)] == ['a', 'b', 'c']
    assert [queue.name for queue in _queues(mine, limit=1).stream()] == [
        'a',
        'b',
        'c',
    ]
    listing, count = mine.queues(marker='a', with_count=True, detailed=True)
    assert count == 3
    queues = list(listing)
    assert [queue.name for queue in queues] == ['b', 'c']
    assert queues[0].metadata_dict['_default_message_ttl'] == 3600
    mine.queue('b').delete()
    assert [queue.name for queue in _queues(mine)] == ['a', 'c']


def test_metadata_is_replaced_as_a_whole(mine: Any) -> None:
    queue = mine.queue('q', force_create=True)
    assert queue.metadata()['_max_messages_post_size'] == 262144
    changed = queue.metadata({'owner': 'ops', '_default_message_ttl': 100})
    assert changed['owner'] == 'ops'
    assert changed['_default_message_ttl'] == 100
    changed = queue.metadata(new_meta={'stage': 'x'})
    assert 'owner' not in changed
    assert changed['stage'] == 'x'
    assert changed['_default_message_ttl'] == 3600
    assert queue.metadata({}, force_reload=True).get('stage') is None


def test_keys_that_are_shown_as_null_are_set_changed_and_removed(
    mine: Any,
) -> None:
    queue = mine.queue('q', force_create=True)
    wanted = {'_dead_letter_queue': 'failed', '_max_claim_count': 3}
    for metadata in (wanted, {**wanted, '_max_claim_count': 5}):
        queue.metadata(metadata)
        seen = queue.metadata(force_reload=True)
        assert {key: seen[key] for key in metadata} == metadata
    queue.metadata({'_max_claim_count': 5})
    seen = queue.metadata(force_reload=True)
    assert seen['_dead_letter_queue'] is None
    assert seen['_max_claim_count'] == 5


def test_metadata_of_a_missing_queue_cannot_be_changed(mine: Any) -> None:
    queue = mine.queue('nowhere')
    assert queue.metadata()['_default_message_ttl'] == 3600
    with pytest.raises(errors.ResourceNotFound):
        queue.metadata({'a': 1})


def test_messages_are_posted_and_streamed(mine: Any, other: Any) -> None:
    queue = mine.queue('q')
    for start in (0, 20):
        _fill(queue, *range(start, start + 20), ttl=600)
    theirs = other.queue('q').messages(limit=7).stream()
    assert _bodies(theirs) == list(range(40))
    assert _bodies(queue.messages(echo=False)) == []
    assert len(_bodies(queue.messages(echo=True, limit=20))) == 20


def test_messages_are_fetched_and_deleted_by_id(mine: Any) -> None:
    queue = mine.queue('q')
    ids = _fill(queue, {'n': 1}, [2], 'three')
    message = queue.message(ids[0])
    assert (message.body, message.ttl) == ({'n': 1}, 3600)
    assert message.claim_id is None
    assert _bodies(queue.messages(*ids[:2])) == [{'n': 1}, [2]]
    message.delete()
    with pytest.raises(errors.ResourceNotFound):
        queue.message(ids[0])
    queue.delete_messages(*ids[1:])
    assert queue.stats['messages']['total'] == 0


def test_messages_are_popped(mine: Any) -> None:
    queue = mine.queue('q')
    _fill(queue, 1, 2, 3)
    assert _bodies(queue.pop(count=2)) == [1, 2]
    assert _bodies(queue.pop()) == [3]
    assert _bodies(queue.pop(5)) == []


def test_messages_are_claimed_renewed_and_released(mine: Any) -> None:
    queue = mine.queue('q')
    ids = _fill(queue, 1, 2, 3)
    claim = queue.claim(ttl=600, grace=600, limit=2)
    messages = list(claim)
    assert _bodies(messages) == [1, 2]
    assert messages[0].claim_id == claim.id
    assert (claim.ttl, claim.age) == (600, 0)
    claim.update(ttl=120, grace=60)
    assert queue.claim(id=claim.id).ttl == 120
    unclaimed = queue.message(ids[0])
    unclaimed.href = unclaimed.href.split('?')[0]
    with pytest.raises(errors.ForbiddenError):
        unclaimed.delete()
    messages[0].delete()
    claim.delete()
    assert _bodies(queue.claim(ttl=60, grace=60)) == [2, 3]
    assert _bodies(queue.claim(ttl=60, grace=60)) == []


def test_claimed_messages_are_listed_on_demand(mine: Any) -> None:
    queue = mine.queue('q')
    _fill(queue, 1, 2)
    list(queue.claim(ttl=60, grace=60, limit=1))
    assert _bodies(queue.messages(echo=True)) == [2]
    shown = queue.messages(echo=True, include_claimed=True)
    assert _bodies(shown) == [1, 2]


def test_a_claim_without_options_is_refused_as_it_expects(mine: Any) -> None:
    # It sends nulls, which are no integers.
    queue = mine.queue('q')
    _fill(queue, 1)
    with pytest.raises(errors.MalformedRequest):
        list(queue.claim())


def test_a_queue_is_purged(mine: Any) -> None:
    queue = mine.queue('q')
    _fill(queue, 1, 2)
    queue.purge(resource_types=['messages'])
    assert queue.stats['messages']['total'] == 0
    _fill(queue, 1)
    queue.purge()
    assert queue.stats['messages']['total'] == 0


def test_statistics_name_both_ends(mine: Any) -> None:
    queue = mine.queue('q')
    ids = _fill(queue, 1, 2, 3)
    list(queue.claim(ttl=60, grace=60, limit=1))
    counts = queue.stats['messages']
    assert (counts['free'], counts['claimed'], counts['total']) == (2, 1, 3)
    assert counts['oldest']['href'].endswith(ids[0])
    assert counts['newest']['href'].endswith(ids[2])


def test_faults_are_told_with_their_text(mine: Any) -> None:
    queue = mine.queue('q')
    with pytest.raises(errors.MalformedRequest, match='TTL for a message'):
        queue.post({'body': 1, 'ttl': 1})
    with pytest.raises(errors.MalformedRequest, match='Limit must be'):
        list(queue.messages(limit=200))


def test_another_project_sees_nothing(
    zaqar: Zaqar, mine: Any, project: str
) -> None:
    ids = _fill(mine.queue('q'), 'secret')
    stranger = connect(zaqar, f'{project}-b')
    queue = stranger.queue('q')
    assert list(_queues(stranger)) == []
    assert _bodies(queue.messages(echo=True)) == []
    with pytest.raises(errors.ResourceNotFound):
        queue.message(ids[0])
    assert _bodies(queue.pop()) == []
