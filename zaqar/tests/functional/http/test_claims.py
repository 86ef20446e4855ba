# SPDX-License-Identifier: Apache-2.0
"""Claims and dead letters: reference/http, "Claims"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.tests.functional.http.client import Api, Response
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/jobs'
CLAIMS = f'{QUEUE}/claims'


def _bodies(answer: Response) -> list[Any]:
    return [message['body'] for message in answer.json['messages']]


def _id(answer: Response) -> str:
    return answer.headers['location'].removeprefix(f'{CLAIMS}/')


# Making one.


def test_a_claim_takes_the_oldest_and_tells_its_place(api: Api) -> None:
    ids = api.post('jobs', *range(12), ttl=600)
    api.clock.move(12.5)
    answer = api('POST', CLAIMS)
    assert answer.status == 201
    claim = _id(answer)
    assert 0 < len(claim) <= 64
    assert all(c.isalnum() or c in '_-' for c in claim)
    assert answer.json == {
        'messages': [
            {
                'id': ids[number],
                'href': f'{QUEUE}/messages/{ids[number]}?claim_id={claim}',
                'ttl': 600,
                'age': 12,
                'body': number,
            }
            for number in range(10)
        ]
    }


@pytest.mark.parametrize('exists', [True, False])
def test_nothing_to_claim_is_an_empty_204(api: Api, exists: bool) -> None:
    if exists:
        api('PUT', QUEUE)
    answer = api('POST', CLAIMS, {})
    assert (answer.status, answer.body) == (204, b'')
    assert len(api('GET', '/v2/queues').json['queues']) == exists


def test_clients_claim_their_own_messages(api: Api) -> None:
    api.post('jobs', 1)
    assert _bodies(api.claim('jobs')) == [1]


def test_two_claims_never_hold_one_message(api: Api) -> None:
    api.post('jobs', *range(5))
    first = api('POST', f'{CLAIMS}?limit=2', {})
    second = api('POST', f'{CLAIMS}?limit=20', {})
    assert _bodies(first) == [0, 1]
    assert _bodies(second) == [2, 3, 4]
    assert api.claim('jobs').status == 204


def test_the_limit_of_the_query_counts_and_that_of_the_body_does_not(
    api: Api,
) -> None:
    api.post('jobs', *range(5))
    answer = api('POST', f'{CLAIMS}?limit=2', {'limit': 4, 'other': 'x'})
    assert len(_bodies(answer)) == 2


@pytest.mark.parametrize('limit', ['0', '-1', '21'])
def test_a_limit_out_of_range_is_refused(api: Api, limit: str) -> None:
    answer = api('POST', f'{CLAIMS}?limit={limit}', {})
    assert answer.is_error(
        400,
        'Invalid API request',
        'Limit must be at least 1 and may not be greater than 20.',
    )


def test_a_limit_that_is_no_number_is_refused(api: Api) -> None:
    answer = api('POST', f'{CLAIMS}?limit=x', {})
    assert answer.is_error(400, 'Invalid parameter', '"limit"')


@pytest.mark.parametrize('field', ['ttl', 'grace'])
@pytest.mark.parametrize(
    ('value', 'fits'),
    [(59, False), (60, True), (43200, True), (43201, False), (-1, False)],
)
def test_ttl_and_grace_are_within_their_range(
    api: Api, field: str, value: int, fits: bool
) -> None:
    api.post('jobs', 1)
    name = 'TTL' if field == 'ttl' else 'grace'
    text = (
        f'The {name} for a claim may not exceed 43200 seconds, and must be '
        'at least 60 seconds long.'
    )
    claim = api.claim('jobs', **{field: value})
    if not fits:
        assert claim.is_error(400, 'Invalid API request', text)
        claim = api.claim('jobs')
    renewed = api('PATCH', claim.headers['location'], {field: value})
    if fits:
        assert renewed.status == 204
    else:
        assert renewed.is_error(400, 'Invalid API request', text)


def test_faults_are_told_in_the_order_ttl_limit_grace(api: Api) -> None:
    document = {'ttl': 1, 'grace': 1}
    seen = [api('POST', f'{CLAIMS}?limit=0', document).description[:9]]
    document['ttl'] = 60
    seen.append(api('POST', f'{CLAIMS}?limit=0', document).description[:9])
    seen.append(api('POST', CLAIMS, document).description[:9])
    assert seen == ['The TTL f', 'Limit mus', 'The grace']


@pytest.mark.parametrize('document', [[], [{'ttl': 60}]])
def test_options_that_are_no_object_are_refused(
    api: Api, document: Any
) -> None:
    for method, path in (('POST', CLAIMS), ('PATCH', f'{CLAIMS}/x')):
        answer = api(method, path, document)
        assert answer.is_error(
            400, 'Invalid request body', 'Document type not supported.'
        )


def test_an_operator_gives_the_defaults(make_api: MakeApi) -> None:
    api = make_api(
        '[transport]\ndefault_claim_ttl = 70\ndefault_claim_grace = 80'
    )
    api.post('jobs', 1, ttl=60)
    answer = api('POST', CLAIMS)
    assert answer.json['messages'][0]['ttl'] == 150
    assert api('GET', answer.headers['location']).json['ttl'] == 70


# Asking for one.


def test_a_claim_is_shown_with_exactly_its_keys(api: Api) -> None:
    api.post('jobs', 1, 2)
    claim = api.claim('jobs', ttl=300, grace=100)
    path = claim.headers['location']
    api.clock.move(17.9)
    shown = api('GET', path)
    assert shown.status == 200
    assert set(shown.json) == {'href', 'ttl', 'age', 'messages'}
    assert shown.json['href'] == path
    assert (shown.json['ttl'], shown.json['age']) == (300, 17)
    hrefs = [message['href'] for message in shown.json['messages']]
    assert all(href.endswith(f'?claim_id={_id(claim)}') for href in hrefs)
    assert [message['age'] for message in shown.json['messages']] == [17, 17]


def test_any_client_of_the_project_may_use_a_claim(api: Api) -> None:
    api.post('jobs', 1)
    path = api.claim('jobs').headers['location']
    other = api.as_other()
    assert other('GET', path).status == 200
    assert other('PATCH', path, {}).status == 204
    assert other('DELETE', path).status == 204
    assert _bodies(api.claim('jobs')) == [1]


@pytest.mark.parametrize('bad', ['x', 'f' * 32, '%C3%A9', '%00', 'a' * 500])
def test_a_claim_that_is_not_there_is_404_and_releasing_it_204(
    api: Api, bad: str
) -> None:
    for _ in range(2):
        for method, document in (('GET', None), ('PATCH', {})):
            arguments = () if document is None else (document,)
            answer = api(method, f'{CLAIMS}/{bad}', *arguments)
            assert answer.is_error(404, 'Not found')
        assert api('DELETE', f'{CLAIMS}/{bad}').status == 204
        # Once without a queue and once with one.
        api('PUT', QUEUE)
    if bad == 'x':
        assert answer.description == (
            f'Claim x does not exist in queue jobs for project {api.project}'
        )


@pytest.mark.proves('ids are scoped')
def test_a_claim_belongs_to_its_queue_and_project(api: Api) -> None:
    api.post('jobs', 1)
    claim = _id(api.claim('jobs'))
    api.post('other', 1)
    stranger = api.as_project('b')
    stranger.post('jobs', 1)
    for who, queue in ((api, 'other'), (stranger, 'jobs')):
        path = f'/v2/queues/{queue}/claims/{claim}'
        assert who('GET', path).status == 404
        assert who('PATCH', path, {}).status == 404
        assert who('DELETE', path).status == 204
    assert api('GET', f'{CLAIMS}/{claim}').status == 200


def test_a_claim_whose_messages_are_gone_is_404(api: Api) -> None:
    (message,) = api.post('jobs', 1)
    claim = api.claim('jobs')
    api('DELETE', f'{QUEUE}/messages/{message}?claim_id={_id(claim)}')
    assert api('GET', claim.headers['location']).status == 404


# Renewing and releasing.


def test_an_empty_renewal_uses_the_defaults(api: Api) -> None:
    api.post('jobs', 1)
    path = api.claim('jobs', ttl=1000).headers['location']
    api.clock.move(50)
    renewed = api('PATCH', path, {})
    assert (renewed.status, renewed.body) == (204, b'')
    claim = api('GET', path).json
    assert (claim['ttl'], claim['age']) == (300, 0)
    api.clock.move(300)
    assert api('GET', path).status == 404


def test_a_renewal_with_ttl_alone(api: Api) -> None:
    api.post('jobs', 1)
    path = api.claim('jobs', ttl=60).headers['location']
    assert api('PATCH', path, {'ttl': 600}).status == 204
    api.clock.move(599)
    assert api('GET', path).json['age'] == 599


def test_a_released_message_is_free_at_once(api: Api) -> None:
    (message,) = api.post('jobs', 1)
    path = api.claim('jobs').headers['location']
    assert api('DELETE', path).status == 204
    assert api('DELETE', path).status == 204
    assert api('GET', path).status == 404
    shown = api('GET', f'{QUEUE}/messages/{message}').json
    assert '?' not in shown['href']
    assert _bodies(api.claim('jobs')) == [1]


def test_a_released_message_returns_to_its_place(api: Api) -> None:
    api.post('jobs', 1, 2, 3)
    path = api('POST', f'{CLAIMS}?limit=1', {}).headers['location']
    api('DELETE', path)
    assert _bodies(api.claim('jobs')) == [1, 2, 3]


# Lifetimes.


def test_a_claim_is_dead_at_the_second(api: Api) -> None:
    (message,) = api.post('jobs', 1)
    path = api.claim('jobs', ttl=60).headers['location']
    api.clock.move(59.999)
    assert api('GET', path).status == 200
    assert api.claim('jobs').status == 204
    api.clock.move(0.001)
    assert api('GET', path).status == 404
    assert api('PATCH', path, {}).status == 404
    assert api('DELETE', path).status == 204
    shown = api('GET', f'{QUEUE}/messages/{message}').json
    assert '?' not in shown['href']
    assert _bodies(api.claim('jobs')) == [1]


def test_a_message_that_would_die_before_its_claim_is_kept(
    api: Api,
) -> None:
    (short,) = api.post('jobs', 'short', ttl=60)
    (long,) = api.post('jobs', 'long', ttl=350)
    answer = api.claim('jobs', ttl=300, grace=100)
    assert [m['ttl'] for m in answer.json['messages']] == [400, 350]
    api.clock.move(349)
    assert api('GET', f'{QUEUE}/messages/{long}').status == 200
    assert api('GET', f'{QUEUE}/messages/{short}').json['age'] == 349
    api.clock.move(1)
    # Died between the end of the claim and that of its grace.
    assert api('GET', f'{QUEUE}/messages/{long}').status == 404
    api.clock.move(49)
    assert api('GET', f'{QUEUE}/messages/{short}').status == 200
    api.clock.move(1)
    assert api('GET', f'{QUEUE}/messages/{short}').status == 404


def test_a_renewal_keeps_messages_alive_too(api: Api) -> None:
    (message,) = api.post('jobs', 1, ttl=120)
    path = api.claim('jobs', ttl=60).headers['location']
    api.clock.move(50)
    api('PATCH', path, {'ttl': 200, 'grace': 60})
    assert api('GET', path).json['messages'][0]['ttl'] == 260
    api.clock.move(259)
    assert api('GET', f'{QUEUE}/messages/{message}').status == 200
    api.clock.move(1)
    assert api('GET', f'{QUEUE}/messages/{message}').status == 404


# Dead letters.


def _with_dead_letters(api: Api, **metadata: Any) -> None:
    document = {'_max_claim_count': 2, '_dead_letter_queue': 'dead'}
    api('PUT', QUEUE, {**document, **metadata})


def _hand_out(api: Api, ttl: int = 60) -> int:
    """Claim, and let the claim lapse; return the status."""
    status = api.claim('jobs', ttl=ttl).status
    api.clock.move(ttl)
    return status


def test_a_message_is_handed_out_twice_and_moved_at_the_third_claim(
    api: Api,
) -> None:
    _with_dead_letters(api)
    (message,) = api.post('jobs', {'job': 7})
    assert [_hand_out(api) for _ in range(3)] == [201, 201, 204]
    assert api.bodies('jobs') == []
    assert api('GET', f'{QUEUE}/messages/{message}').status == 404
    moved = api('GET', f'/v2/queues/dead/messages/{message}').json
    assert (moved['id'], moved['body']) == (message, {'job': 7})
    # What was left of its life when it was moved.
    assert moved['ttl'] == 3600 - 120
    assert _bodies(api.claim('dead')) == [{'job': 7}]


def test_released_claims_count(api: Api) -> None:
    _with_dead_letters(api)
    api.post('jobs', 1)
    for _ in range(2):
        api('DELETE', api.claim('jobs').headers['location'])
    assert api.claim('jobs').status == 204
    assert api.bodies('dead') == [1]


def test_a_renewal_does_not_count(api: Api) -> None:
    _with_dead_letters(api)
    api.post('jobs', 1)
    path = api.claim('jobs').headers['location']
    for _ in range(5):
        assert api('PATCH', path, {}).status == 204
    api('DELETE', path)
    assert api.claim('jobs').status == 201


def test_a_moved_message_makes_room_for_free_ones(api: Api) -> None:
    _with_dead_letters(api)
    api.post('jobs', 'worn')
    _hand_out(api)
    _hand_out(api)
    api.post('jobs', 'fresh')
    assert _bodies(api.claim('jobs')) == ['fresh']
    assert api.bodies('dead') == ['worn']


def test_a_dead_letter_gets_a_new_life(api: Api) -> None:
    _with_dead_letters(api, _dead_letter_queue_messages_ttl=1000)
    (message,) = api.post('jobs', 1, ttl=200)
    for _ in range(3):
        _hand_out(api)
    path = f'/v2/queues/dead/messages/{message}'
    assert api('GET', path).json['ttl'] == 1000
    # It was moved at 120 s, and the clock stands at 180 s.
    api.clock.move(939)
    assert api('GET', path).status == 200
    api.clock.move(1)
    assert api('GET', path).status == 404


def test_a_dead_letter_can_be_found_marked_and_deleted_by_its_id(
    api: Api,
) -> None:
    _with_dead_letters(api)
    api.post('dead', 'before')
    (message,) = api.post('jobs', 'worn')
    for _ in range(3):
        _hand_out(api)
    api.post('dead', 'after')
    path = '/v2/queues/dead/messages'
    assert _bodies(api('GET', f'{path}?ids={message}')) == ['worn']
    marked = api('GET', f'{path}?echo=1&marker={message}')
    assert _bodies(marked) == ['after']
    assert api('DELETE', f'{path}/{message}').status == 204
    assert api.bodies('dead') == ['before', 'after']


@pytest.mark.parametrize(
    'metadata',
    [
        {'_max_claim_count': 2},
        {'_dead_letter_queue': 'dead'},
        {'_max_claim_count': 0, '_dead_letter_queue': 'dead'},
    ],
)
def test_nothing_moves_without_both_keys(
    api: Api, metadata: dict[str, Any]
) -> None:
    api('PUT', QUEUE, metadata)
    api.post('jobs', 1)
    assert [_hand_out(api) for _ in range(5)] == [201] * 5


def test_claims_count_before_both_keys_are_set(api: Api) -> None:
    api.post('jobs', 1)
    _hand_out(api)
    change = [
        {'op': 'add', 'path': '/metadata/_max_claim_count', 'value': 2},
        {'op': 'add', 'path': '/metadata/_dead_letter_queue', 'value': 'd'},
    ]
    kind = 'application/openstack-messaging-v2.0-json-patch'
    assert api('PATCH', QUEUE, change, headers={'Content-Type': kind})
    assert [_hand_out(api) for _ in range(2)] == [201, 204]


def test_popped_messages_show_their_count(api: Api) -> None:
    _with_dead_letters(api)
    api.post('jobs', 1)
    _hand_out(api)
    popped = api('DELETE', f'{QUEUE}/messages?pop=1').json['messages'][0]
    assert (popped['claim_id'], popped['claim_count']) == (None, 1)


def test_a_letter_may_go_back_and_forth_between_two_queues(
    api: Api,
) -> None:
    for name, other in (('a', 'b'), ('b', 'a')):
        metadata = {'_max_claim_count': 1, '_dead_letter_queue': other}
        api('PUT', f'/v2/queues/{name}', metadata)
    api.post('a', 'ball')
    for _ in range(3):
        for name in 'ab':
            assert _bodies(api.claim(name, ttl=60)) == ['ball']
            api.clock.move(60)
            assert api.claim(name, ttl=60).status == 204
