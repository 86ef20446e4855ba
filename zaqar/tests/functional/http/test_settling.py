# SPDX-License-Identifier: Apache-2.0
"""Settling messages of a claim: reference/http, "Claims"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.microversion_constants import V2_0, V2_1
from zaqar.tests.functional.http.client import Api, Response

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/jobs'
NOBODY = '0' * 32


@pytest.fixture
def new(api: Api) -> Api:
    return api.at(V2_1)


def claimed(api: Api, count: int = 5, **options: Any) -> tuple[str, list[str]]:
    """Post and claim messages; return the path of the claim, and ids."""
    posted = api.post('jobs', *range(count), ttl=86_400)
    answer = api.claim('jobs', **options)
    assert len(answer.json['messages']) == count
    return answer.headers['location'], list(posted)


def settle(api: Api, claim: str, **document: Any) -> Response:
    answer = api('POST', f'{claim}/settle', document)
    assert isinstance(answer, Response)
    return answer


def statuses(answer: Response) -> dict[str, str]:
    """Return what has become of each message."""
    assert answer.status == 200, answer
    return {item['id']: item['status'] for item in answer.json['results']}


def state(api: Api) -> Any:
    """Return all that a refused request must leave as it is."""
    paths = ('messages?echo=1&include_claimed=1&include_delayed=1', 'stats')
    return [api('GET', f'{QUEUE}/{path}').json for path in paths]


def test_messages_are_settled_each_in_its_way(new: Api) -> None:
    new('PUT', QUEUE, {'_dead_letter_queue': 'dead'})
    claim, (one, two, three, four, five) = claimed(new)
    answer = settle(
        new,
        claim,
        delete=[one, NOBODY],
        release=[{'id': two, 'delay': 30, 'failed': False}],
        extend=[{'id': three, 'ttl': 120}, {'id': four, 'ttl': 0}],
        reject=[{'id': five, 'reason': 'unknown schema 3'}],
    )
    assert answer.json == {
        'results': [
            {'id': one, 'status': 'deleted'},
            {'id': NOBODY, 'status': 'not_held'},
            {'id': two, 'status': 'released'},
            {'id': three, 'status': 'extended'},
            {'id': four, 'status': 'released'},
            {'id': five, 'status': 'rejected'},
        ]
    }
    assert new.bodies('jobs') == [3]
    everything = 'echo=1&include_delayed=1&include_claimed=1'
    assert new.bodies('jobs', everything) == [1, 2, 3]
    later = new('GET', f'{QUEUE}/messages/{two}').json
    assert later['claim_count'] == 0
    assert later['visible_at'] > later['created_at']
    dead = new('GET', '/v2/queues/dead/messages?echo=1').json['messages']
    assert [item['body'] for item in dead] == [4]
    letter = dead[0]['dead_letter']
    assert letter['reason'] == 'unknown schema 3'
    assert (letter['queue'], letter['claim_count']) == ('jobs', 1)


def test_it_is_new_in_2_1(api: Api, new: Api) -> None:
    claim, (one,) = claimed(new, 1)
    for old in (api, api.at(V2_0)):
        assert settle(old, claim, delete=[one]).status == 404
    assert api.bodies('jobs', 'echo=1&include_claimed=1') == [0]


def test_a_claim_lives_until_the_last_hold_ends(api: Api, new: Api) -> None:
    claim, (one, two) = claimed(new, 2, ttl=60)
    settle(new, claim, extend=[{'id': two, 'ttl': 600}])
    api.clock.move(60)
    assert new.bodies('jobs') == [0]
    held = new('GET', claim).json
    assert [item['body'] for item in held['messages']] == [1]
    assert 530 < held['ttl'] - held['age'] <= 540
    answer = settle(new, claim, delete=[one, two])
    assert statuses(answer) == {one: 'not_held', two: 'deleted'}
    assert new('GET', claim).status == 404
    assert settle(new, claim, delete=[two]).status == 404
    assert new('PATCH', claim, {'ttl': 60, 'grace': 0}).status == 404
    assert new('DELETE', claim).status == 204


def test_a_repetition_is_harmless(api: Api, new: Api) -> None:
    new('PUT', QUEUE, {'_dead_letter_queue': 'dead'})
    claim, (one, two, three, four) = claimed(new, 4)
    changes = {
        'delete': [one],
        'release': [{'id': two, 'reason': 'busy'}],
        'reject': [{'id': three}],
    }
    settle(new, claim, **changes)
    assert statuses(settle(new, claim, **changes)) == dict.fromkeys(
        (one, two, three), 'not_held'
    )
    assert new.bodies('jobs') == [1]
    assert new.bodies('dead') == [2]
    settle(new, claim, delete=[four])
    assert settle(new, claim, **changes).status == 404


@pytest.mark.parametrize(
    ('document', 'part'),
    [
        ({}, 'At least one'),
        ({'delete': [], 'release': []}, 'At least one'),
        ({'delete': [f'{n:032x}' for n in range(101)]}, 'at most 100'),
        ({'delete': 'a'}, '"delete" must be a list'),
        ({'release': {'id': 'a'}}, '"release" must be a list'),
        ({'delete': None}, '"delete" must be a list'),
        ({'delete': [1]}, 'must be the id'),
        ({'delete': [{'id': 'a'}]}, 'must be the id'),
        ({'release': ['a']}, 'must be an object'),
        ({'release': [{}]}, '"id"'),
        ({'extend': [{'id': 7, 'ttl': 1}]}, '"id"'),
        ({'extend': [{'id': 'a'}]}, '"ttl" must be an integer'),
        ({'extend': [{'id': 'a', 'ttl': True}]}, '"ttl" must be an integer'),
        ({'extend': [{'id': 'a', 'ttl': 1.5}]}, '"ttl" must be an integer'),
        ({'extend': [{'id': 'a', 'ttl': -1}]}, '"ttl" may not exceed'),
        ({'extend': [{'id': 'a', 'ttl': 43_201}]}, '43200'),
        ({'release': [{'id': 'a', 'delay': '1'}]}, '"delay" must be an'),
        ({'release': [{'id': 'a', 'delay': -1}]}, '"delay" may not exceed'),
        ({'release': [{'id': 'a', 'delay': 43_201}]}, '43200'),
        ({'release': [{'id': 'a', 'failed': 0}]}, 'true or false'),
        ({'release': [{'id': 'a', 'failed': None}]}, 'true or false'),
        ({'release': [{'id': 'a', 'reason': 1}]}, 'must be a text'),
        ({'release': [{'id': 'a', 'reason': 'x' * 1025}]}, '1024'),
        ({'reject': [{'id': 'a', 'reason': 'x' * 1025}]}, '1024'),
        ({'delete': ['a', 'a']}, 'only once'),
        ({'delete': ['a'], 'extend': [{'id': 'a', 'ttl': 1}]}, 'only once'),
        ({'reject': [{'id': 'a'}]}, '"_dead_letter_queue"'),
        ([], 'not supported'),
    ],
)
def test_a_refused_request_changes_nothing(
    new: Api, document: Any, part: str
) -> None:
    claim, (one, _) = claimed(new, 2)
    before = state(new)
    if isinstance(document, dict) and any(document.values()):
        deleted = document.get('delete', [])
        if isinstance(deleted, list):
            # This alone would be done.
            document = {**document, 'delete': [one, *deleted]}
    answer = new('POST', f'{claim}/settle', document)
    assert answer.status == 400, answer
    assert part in answer.description
    assert state(new) == before


def test_a_body_is_needed_and_bounded(new: Api) -> None:
    claim, (one,) = claimed(new, 1)
    assert new('POST', f'{claim}/settle').status == 400
    entry = {'id': one, 'reason': '\U0001f600' * 1024}
    others = [{**entry, 'id': f'{number:032x}'} for number in range(99)]
    assert settle(new, claim, release=[entry, *others]).status == 200
    big = [{'id': 'x' * (1 << 21)}]
    assert settle(new, claim, release=big).status == 400


def test_what_is_unknown_is_404(new: Api) -> None:
    claim, (one,) = claimed(new, 1)
    other = claim.replace('jobs', 'other')
    for path in (f'{QUEUE}/claims/unknown', other):
        assert settle(new, path, delete=[one]).status == 404
    new('PUT', '/v2/queues/other')
    assert settle(new, other, delete=[one]).status == 404
    assert new.bodies('jobs', 'echo=1&include_claimed=1') == [0]


def test_another_project_settles_nothing(new: Api) -> None:
    claim, (one,) = claimed(new, 1)
    stranger = new.as_project('b' * 32)
    assert settle(stranger, claim, delete=[one]).status == 404
    assert new.bodies('jobs', 'echo=1&include_claimed=1') == [0]


def test_the_longest_times_are_those_of_claims(api: Api, new: Api) -> None:
    claim, (one, two) = claimed(new, 2)
    answer = settle(
        new,
        claim,
        release=[{'id': one, 'delay': 43_200}],
        extend=[{'id': two, 'ttl': 43_200}],
    )
    assert statuses(answer) == {one: 'released', two: 'extended'}
    api.clock.move(43_199)
    assert new.bodies('jobs') == []
    api.clock.move(1)
    assert new.bodies('jobs') == [0, 1]


def test_a_reason_given_once_becomes_that_of_the_dead_letter(
    new: Api,
) -> None:
    metadata = {'_dead_letter_queue': 'dead', '_max_claim_count': 1}
    new('PUT', QUEUE, metadata)
    claim, (one,) = claimed(new, 1)
    settle(new, claim, release=[{'id': one, 'reason': 'rate limited'}])
    assert new.claim('jobs').status == 204
    (dead,) = new('GET', '/v2/queues/dead/messages?echo=1').json['messages']
    assert dead['dead_letter']['reason'] == 'rate limited'


def test_a_hand_out_that_has_not_failed_wears_nothing_out(new: Api) -> None:
    metadata = {'_dead_letter_queue': 'dead', '_max_claim_count': 1}
    new('PUT', QUEUE, metadata)
    for _ in range(3):
        claim, (one,) = claimed(new, 1)
        settle(new, claim, release=[{'id': one, 'failed': False}])
        new('DELETE', f'{QUEUE}/messages/{one}')
    claim, (one,) = claimed(new, 1)
    settle(new, claim, release=[{'id': one, 'failed': False}])
    assert new.claim('jobs').status == 201


def test_a_rejected_message_is_moved_whatever_its_count(new: Api) -> None:
    metadata = {
        '_dead_letter_queue': 'dead',
        '_max_claim_count': 50,
        '_dead_letter_queue_messages_ttl': 1000,
    }
    new('PUT', QUEUE, metadata)
    claim, (one, two) = claimed(new, 2)
    answer = settle(new, claim, reject=[{'id': one}, {'id': NOBODY}])
    assert statuses(answer) == {one: 'rejected', NOBODY: 'not_held'}
    (dead,) = new('GET', '/v2/queues/dead/messages?echo=1').json['messages']
    assert (dead['id'], dead['ttl']) == (one, 1000)
    assert dead['dead_letter']['reason'] == 'rejected'
    assert new('GET', f'{QUEUE}/messages/{one}').status == 404
    assert [item['id'] for item in new('GET', claim).json['messages']] == [two]


def test_a_dead_letter_queue_set_since_takes_rejected_ones(
    new: Api,
) -> None:
    claim, (one,) = claimed(new, 1)
    assert settle(new, claim, reject=[{'id': one}]).status == 400
    new('PUT', QUEUE, {'_dead_letter_queue': 'dead'})
    kind = 'application/openstack-messaging-v2.0-json-patch'
    path = '/metadata/_dead_letter_queue'
    change = [{'op': 'add', 'path': path, 'value': 'dead'}]
    new('PATCH', QUEUE, change, headers={'Content-Type': kind})
    assert statuses(settle(new, claim, reject=[{'id': one}])) == {
        one: 'rejected'
    }


def test_a_release_and_a_2_0_client_meet(api: Api, new: Api) -> None:
    """A claim of 2.0 is settled under 2.1, and the other way round."""
    old = api.at(V2_0)
    posted = old.post('jobs', *range(4), ttl=3600)
    claim = old.claim('jobs').headers['location']
    one, two, three, _ = posted
    before = old('GET', claim).json
    settle(
        new,
        claim,
        release=[
            {'id': one, 'delay': 60, 'reason': 'later'},
            {'id': two, 'reason': 'now'},
        ],
        extend=[{'id': three, 'ttl': 900}],
    )
    keys = {frozenset(item) for item in before['messages']}
    again = old.claim('jobs').json['messages']
    assert [item['body'] for item in again] == [1]
    assert {frozenset(item) for item in again} == keys
    held = old('GET', claim).json
    assert set(held) == set(before)
    assert [item['body'] for item in held['messages']] == [2, 3]
    shown = old('GET', f'{QUEUE}/messages/{one}').json
    assert frozenset(shown) in keys
    href = held['messages'][0]['href']
    assert old('DELETE', href).status == 204
    assert old('PATCH', claim, {'ttl': 300, 'grace': 60}).status == 204
    assert old('DELETE', claim).status == 204
    api.clock.move(60)
    assert old.bodies('jobs') == [0, 3]


def test_a_failed_store_is_503_and_a_repetition_completes_it(
    new: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    new('PUT', QUEUE, {'_dead_letter_queue': 'dead'})
    claim, (one, two) = claimed(new, 2)
    store = new.service.catalogue.messages
    original = store.settle

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(store, 'settle', fail)
    document = {'reject': [{'id': one, 'reason': 'bad'}], 'delete': [two]}
    assert settle(new, claim, **document).status == 503
    monkeypatch.setattr(store, 'settle', original)
    assert new.bodies('dead') == [0]
    assert statuses(settle(new, claim, **document)) == {
        two: 'deleted',
        one: 'rejected',
    }
    assert new.bodies('dead') == [0]
    assert new.bodies('jobs', 'echo=1&include_claimed=1') == []


def test_counts_tell_claims_with_the_same_id_apart(new: Api) -> None:
    claim, (one, two) = claimed(new, 2, id='mine')
    new('DELETE', claim)
    assert new.claim('jobs', id='mine').headers['location'] == claim
    document = {'delete': [one], 'extend': [{'id': two, 'ttl': 600}]}
    answer = settle(new, claim, **document, claim_counts={one: 1, two: 2})
    assert statuses(answer) == {one: 'not_held', two: 'extended'}
    answer = settle(new, claim, **document, claim_counts={one: 1, two: 1})
    assert statuses(answer) == {one: 'not_held', two: 'not_held'}
    answer = settle(new, claim, delete=[one], claim_counts={one: 2})
    assert statuses(answer) == {one: 'deleted'}
    for wrong in ([], {one: 1}, {two: -1}, {two: True}, {two: '1'}):
        answer = settle(new, claim, delete=[two], claim_counts=wrong)
        assert answer.status == 400
    answer = settle(new, claim, delete=[two])
    assert statuses(answer) == {two: 'deleted'}
