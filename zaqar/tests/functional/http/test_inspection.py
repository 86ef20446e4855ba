# SPDX-License-Identifier: Apache-2.0
"""What 2.1 shows of queues and messages: statistics, guarantees, reasons."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.microversion_constants import V2_0, V2_1
from zaqar.tests.functional.http.client import PATCH, Api

QUEUE = '/v2/queues/jobs'
OTHER = {'Client-ID': '00000000-0000-4000-8000-000000000007'}


@pytest.fixture
def new(api: Api) -> Api:
    return api.at(V2_1)


def explained(api: Api, message_id: str, **headers: str) -> dict[str, Any]:
    """Return why a message is handed out or not."""
    path = f'{QUEUE}/messages/{message_id}/explain'
    answer = api('GET', path, headers=headers or None)
    assert answer.status == 200, answer
    document: dict[str, Any] = answer.json
    return document


def set_metadata(api: Api, **values: Any) -> None:
    """Set keys of the queue's metadata."""
    api('PUT', QUEUE)
    changes = [
        {'op': 'add', 'path': f'/metadata/{key}', 'value': value}
        for key, value in values.items()
    ]
    answer = api('PATCH', QUEUE, changes, headers={'Content-Type': PATCH})
    assert answer.status == 200, answer


def test_statistics_show_what_waits(new: Api) -> None:
    messages = [{'body': 1}, {'body': 2}, {'body': 3, 'delay': 600}]
    posted = new('POST', f'{QUEUE}/messages', {'messages': messages})
    assert posted.status == 201
    new('POST', f'{QUEUE}/claims?limit=1')
    shown = new('GET', f'{QUEUE}/stats').json
    assert {
        key: shown['messages'][key]
        for key in ('free', 'claimed', 'total', 'delayed', 'held_by_groups')
    } == {
        'free': 2,
        'claimed': 1,
        'total': 3,
        'delayed': 1,
        'held_by_groups': 0,
    }
    assert shown['oldest_free_age'] in range(60)
    assert shown['rates'] == {'posted': None, 'deleted': None}
    new('POST', f'{QUEUE}/claims?limit=1')
    assert new('GET', f'{QUEUE}/stats').json['oldest_free_age'] is None


def test_statistics_of_a_missing_queue_are_unknown(new: Api) -> None:
    assert new('GET', f'{QUEUE}/stats').json == {
        'messages': {
            'claimed': 0,
            'free': 0,
            'total': 0,
            'delayed': 0,
            'held_by_groups': 0,
        },
        'oldest_free_age': None,
        'rates': {'posted': None, 'deleted': None},
    }


def test_statistics_of_two_looks_show_rates(
    new: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = new.service.catalogue.messages.clock
    start = clock.now()
    new.post('jobs', *range(10))
    new('GET', f'{QUEUE}/stats')
    new.post('jobs', *range(20))
    new('DELETE', f'{QUEUE}/messages?pop=5')
    monkeypatch.setattr(clock, 'now', lambda: start + 120_000)
    rates = new('GET', f'{QUEUE}/stats').json['rates']
    assert rates['posted'] == pytest.approx(10, abs=1)
    assert rates['deleted'] == pytest.approx(2.5, abs=0.3)


def test_statistics_of_2_0_and_of_topics_have_their_old_keys(
    new: Api,
) -> None:
    new.post('jobs', 1)
    assert set(new.at(V2_0)('GET', f'{QUEUE}/stats').json) == {'messages'}
    topics = new.on_topics()
    topics('POST', f'{QUEUE}/messages', {'messages': [{'body': 1}]})
    shown = topics('GET', f'{QUEUE}/stats').json
    assert set(shown) == {'messages'}
    assert set(shown['messages']) == {'total', 'oldest', 'newest'}


@pytest.mark.parametrize(
    'path', ['guarantees', 'messages/00000000000000000000000000000000/explain']
)
def test_operations_of_2_1_do_not_exist_in_2_0(new: Api, path: str) -> None:
    new('PUT', QUEUE)
    assert new.at(V2_0)('GET', f'{QUEUE}/{path}').status == 404
    assert new('GET', f'{QUEUE}/{path}').status == 200
    assert new('POST', f'{QUEUE}/{path}').status == 405


def test_guarantees_are_those_of_the_store(new: Api) -> None:
    new('PUT', QUEUE)
    shown = new('GET', f'{QUEUE}/guarantees').json
    assert shown['order'] == 'fifo'
    assert shown['delivery'] == 'at-least-once'
    assert shown['claims'] == 'exclusive'
    assert shown['acknowledged_survives']['process_kill'] is True
    assert set(shown['acknowledged_survives']) == {
        'process_kill',
        'store_kill',
        'failover',
    }
    assert shown['store'] in ('sqlite', 'postgresql')
    assert shown['because']
    assert shown['checked_at'].endswith('Z')
    # Not read again within a minute.
    assert new('GET', f'{QUEUE}/guarantees').json == shown


def test_a_missing_queue_guarantees_nothing(new: Api) -> None:
    answer = new('GET', f'{QUEUE}/guarantees')
    assert answer.status == 404
    assert 'does not exist' in answer.json['description']


def test_a_store_that_does_not_answer_guarantees_nothing(
    new: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    new('PUT', QUEUE)

    def fail(qid: str) -> None:
        raise StoreUnavailable

    store = new.service.catalogue.messages
    monkeypatch.setattr(store, 'guarantees', fail)
    answer = new('GET', f'{QUEUE}/guarantees')
    assert answer.status == 503
    monkeypatch.setattr(store, 'guarantees', lambda qid: None)
    shown = new('GET', f'{QUEUE}/guarantees').json
    assert (shown['store'], shown['order']) == (None, None)
    assert shown['because'] == ['The driver of this store does not tell.']


def test_a_free_message_is_explained(new: Api) -> None:
    (one,) = new.post('jobs', 1)
    assert explained(new, one) == {
        'state': 'free',
        'listed': False,
        'claimable': True,
        'because': [
            'The asking client has posted it; lists without "echo" omit it.',
            'Claims and pops can take it, after the free messages before it.',
        ],
        'claim': None,
        'claim_count': 0,
        'group': None,
    }
    shown = explained(new, one, **OTHER)
    assert (shown['listed'], len(shown['because'])) == (True, 1)


def test_a_claimed_message_is_explained(new: Api) -> None:
    (one,) = new.post('jobs', 1)
    claim = new.claim('jobs', ttl=300)
    claim_id = claim.headers['location'].rpartition('/')[2]
    shown = explained(new, one, **OTHER)
    assert shown['state'] == 'claimed'
    assert (shown['listed'], shown['claimable']) == (False, False)
    assert shown['claim_count'] == 1
    assert shown['claim']['id'] == claim_id
    assert shown['claim']['ends_at'] > claim.json['messages'][0]['created_at']
    assert shown['because'] == [
        f'Claim {claim_id} holds it until {shown["claim"]["ends_at"]}, '
        'unless that is renewed or released; lists without "include_claimed" '
        'omit it.'
    ]
    new('DELETE', claim.headers['location'])
    assert explained(new, one)['state'] == 'free'


def test_a_delayed_message_is_explained(new: Api) -> None:
    message = {'body': 1, 'delay': 600}
    posted = new('POST', f'{QUEUE}/messages', {'messages': [message]})
    one = posted.json['resources'][0].rpartition('/')[2]
    shown = explained(new, one, **OTHER)
    visible_at = new('GET', f'{QUEUE}/messages/{one}').json['visible_at']
    assert shown['state'] == 'delayed'
    assert (shown['listed'], shown['claimable']) == (False, False)
    assert visible_at in shown['because'][0]


@pytest.mark.parametrize('name', ['0' * 32, 'no-id', 'x' * 200])
def test_an_absent_message_is_explained(new: Api, name: str) -> None:
    for _ in range(2):
        shown = explained(new, name)
        assert shown['state'] == 'absent'
        assert (shown['listed'], shown['claimable']) == (False, False)
        assert (shown['claim'], shown['claim_count']) == (None, 0)
        assert 'no live message with this id' in shown['because'][0]
        # First without, then with the queue.
        new('PUT', QUEUE)


def test_a_message_that_is_claimed_too_often_is_explained(new: Api) -> None:
    set_metadata(new, _max_claim_count=1, _dead_letter_queue='dead')
    (one,) = new.post('jobs', 1)
    assert explained(new, one)['claimable'] is True
    claim = new.claim('jobs', ttl=300)
    new('DELETE', claim.headers['location'])
    shown = explained(new, one, **OTHER)
    assert (shown['state'], shown['claimable']) == ('free', False)
    assert shown['listed'] is True
    assert shown['because'] == [
        'Its claim_count is 1, and _max_claim_count is 1: the next claim that '
        'meets it moves it to queue dead.'
    ]
    new.claim('jobs')
    assert explained(new, one)['state'] == 'absent'


def test_another_project_learns_nothing(new: Api) -> None:
    (one,) = new.post('jobs', 1)
    shown = explained(new, one, **{'X-Project-ID': 'another'})
    assert shown['state'] == 'absent'


def test_a_message_behind_another_of_its_group_is_explained(
    new: Api,
) -> None:
    messages = [{'body': n, 'group': 'a'} for n in range(2)]
    posted = new('POST', f'{QUEUE}/messages', {'messages': messages})
    assert posted.status == 201
    names = [path.rpartition('/')[2] for path in posted.json['resources']]
    claim = new('POST', f'{QUEUE}/claims?limit=1', {'ttl': 300})
    shown = explained(new, names[1], **OTHER)
    assert (shown['state'], shown['group']) == ('held_by_group', 'a')
    assert (shown['listed'], shown['claimable']) == (True, False)
    ends_at = explained(new, names[0])['claim']['ends_at']
    assert shown['because'] == [
        'A message of its group is claimed, or waits after a release, until '
        f'{ends_at}; until then claims and pops take none of the group.'
    ]
    stats = new('GET', f'{QUEUE}/stats').json
    assert stats['messages']['held_by_groups'] == 1
    assert stats['oldest_free_age'] is None
    new('DELETE', claim.headers['location'])
    assert explained(new, names[1])['state'] == 'free'


def test_guarantees_name_the_window_of_the_queue(new: Api) -> None:
    new('PUT', QUEUE)
    shown = new('GET', f'{QUEUE}/guarantees').json
    assert shown['dedup_window'] == 300
    set_metadata(new, _dedup_window=60)
    shown = new('GET', f'{QUEUE}/guarantees').json
    assert shown['dedup_window'] == 60
