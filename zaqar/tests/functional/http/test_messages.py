# SPDX-License-Identifier: Apache-2.0
"""Reading and deleting messages: reference/http, "Messages"."""

from __future__ import annotations

import pytest

from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/jobs'
MESSAGES = f'{QUEUE}/messages'


def _queues(api: Api) -> int:
    return len(api('GET', '/v2/queues').json['queues'])


# Reading.


def test_a_message_is_shown_with_exactly_its_keys(api: Api) -> None:
    (message_id,) = api.post('jobs', {'job': 7}, ttl=600)
    api.clock.move(4.9)
    expected = {
        'id': message_id,
        'href': f'{MESSAGES}/{message_id}',
        'ttl': 600,
        'age': 4,
        'body': {'job': 7},
    }
    assert api('GET', f'{MESSAGES}/{message_id}').json == expected
    listed = api('GET', f'{MESSAGES}?echo=true').json['messages']
    assert listed == [expected]
    several = api('GET', f'{MESSAGES}?ids={message_id}')
    assert several.json == {'messages': [expected]}


def test_an_id_is_at_most_64_plain_characters(api: Api) -> None:
    (message_id,) = api.post('jobs', 1)
    assert 0 < len(message_id) <= 64
    assert all(c.isalnum() or c in '_-' for c in message_id)


def test_a_message_dies_at_the_second(api: Api) -> None:
    (message_id,) = api.post('jobs', 1, ttl=60)
    api.clock.move(59.999)
    assert api('GET', f'{MESSAGES}/{message_id}').status == 200
    assert api.bodies('jobs') == [1]
    api.clock.move(0.001)
    assert api('GET', f'{MESSAGES}/{message_id}').status == 404
    assert api('GET', f'{MESSAGES}?ids={message_id}').status == 404
    assert api.bodies('jobs') == []
    assert api.claim('jobs').status == 204
    stats = api('GET', f'{QUEUE}/stats').json['messages']
    assert stats == {'claimed': 0, 'free': 0, 'total': 0}


def test_own_messages_are_hidden_unless_echo_is_asked(api: Api) -> None:
    api.post('jobs', 'mine')
    api.as_other().post('jobs', 'theirs')
    assert api.bodies('jobs', '') == ['theirs']
    assert api.bodies('jobs', 'echo=false') == ['theirs']
    assert api.bodies('jobs', 'echo=true') == ['mine', 'theirs']


def test_claimed_messages_are_hidden_unless_asked_for(api: Api) -> None:
    api.post('jobs', 1, 2)
    claim = api('POST', f'{QUEUE}/claims?limit=1', {}).headers['location']
    assert api.bodies('jobs') == [2]
    shown = api('GET', f'{MESSAGES}?echo=1&include_claimed=1').json['messages']
    claim_id = claim.split('/')[-1]
    hrefs = [message['href'] for message in shown]
    assert hrefs[0].endswith(f'?claim_id={claim_id}')
    assert '?' not in hrefs[1]


@pytest.mark.parametrize('exists', [True, False])
def test_nothing_to_show_is_an_empty_page(api: Api, exists: bool) -> None:
    if exists:
        api('PUT', QUEUE)
    answer = api('GET', MESSAGES)
    assert (answer.status, answer.json) == (200, {'messages': [], 'links': []})
    assert _queues(api) == exists


def test_pages_follow_each_other_without_gap_or_repetition(api: Api) -> None:
    for number in range(0, 25, 5):
        api.post('jobs', *range(number, number + 5))
    path, seen, sizes = f'{MESSAGES}?echo=true', [], []
    while True:
        page = api('GET', path).json
        assert bool(page['links']) is bool(page['messages'])
        if not page['messages']:
            break
        sizes.append(len(page['messages']))
        seen += [message['body'] for message in page['messages']]
        (link,) = page['links']
        assert link['rel'] == 'next'
        path = link['href']
        assert path.startswith(f'{MESSAGES}?')
        assert 'echo=true' in path
        assert not {'{', '}'} & set(path)
    assert seen == list(range(25))
    assert sizes == [10, 10, 5]


def test_the_next_link_repeats_what_was_given(api: Api) -> None:
    api.post('jobs', 1, 2)
    path = f'{MESSAGES}?limit=1&echo=True&include_claimed=y'
    link = api('GET', path).json['links'][0]['href']
    assert 'limit=1' in link
    assert 'echo=true' in link
    assert 'include_claimed=true' in link
    assert api('GET', link).json['messages'][0]['body'] == 2


def test_an_id_works_as_a_marker_even_when_its_message_is_gone(
    api: Api,
) -> None:
    ids = api.post('jobs', 1, 2, 3)
    path = f'{MESSAGES}?echo=1&marker={ids[0]}'
    assert len(api('GET', path).json['messages']) == 2
    api('DELETE', f'{MESSAGES}/{ids[0]}')
    assert len(api('GET', path).json['messages']) == 2


@pytest.mark.parametrize('marker', ['x', '-1', '%00', 'f' * 32, '%C3%A9'])
def test_a_marker_that_is_none_gives_an_empty_page(
    api: Api, marker: str
) -> None:
    api.post('jobs', 1)
    answer = api('GET', f'{MESSAGES}?echo=1&marker={marker}')
    assert (answer.status, answer.json) == (200, {'messages': [], 'links': []})


@pytest.mark.parametrize('limit', ['0', '-1', '21', '200'])
def test_a_limit_out_of_range_is_refused(api: Api, limit: str) -> None:
    answer = api('GET', f'{MESSAGES}?limit={limit}')
    assert answer.is_error(
        400,
        'Invalid API request',
        'Limit must be at least 1 and may not be greater than 20.',
    )


@pytest.mark.parametrize(
    ('name', 'value', 'kind'),
    [
        ('limit', 'x', 'an integer'),
        ('echo', 'TRUE', '"true" or "false"'),
        ('echo', 'None', '"true" or "false"'),
        ('include_claimed', '2', '"true" or "false"'),
        ('include_delayed', 'x', '"true" or "false"'),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(
    api: Api, name: str, value: str, kind: str
) -> None:
    answer = api('GET', f'{MESSAGES}?{name}={value}')
    assert answer.is_error(
        400, 'Invalid parameter', f'The "{name}" parameter is invalid.'
    )
    assert kind in answer.description


@pytest.mark.parametrize(
    'spelling', ['true', 'True', 't', 'yes', 'y', '1', 'on']
)
def test_seven_spellings_mean_true(api: Api, spelling: str) -> None:
    api.post('jobs', 1)
    assert api.bodies('jobs', f'echo={spelling}') == [1]


@pytest.mark.parametrize(
    'spelling', ['false', 'False', 'f', 'no', 'n', '0', 'off', '']
)
def test_seven_spellings_and_nothing_mean_false(
    api: Api, spelling: str
) -> None:
    api.post('jobs', 1)
    assert api.bodies('jobs', f'echo={spelling}') == []


# Several by id.


@pytest.mark.parametrize('query', ['ids={0},{1}', 'ids={0}&ids={1}'])
def test_ids_come_comma_separated_and_repeated(api: Api, query: str) -> None:
    ids = api.post('jobs', 1, 2, 3)
    path = f'{MESSAGES}?{query.format(ids[1], ids[0])}'
    answer = api('GET', path)
    assert [m['body'] for m in answer.json['messages']] == [1, 2]
    assert 'links' not in answer.json
    assert api('DELETE', path).status == 204
    assert api.bodies('jobs') == [3]


def test_ids_mixed_repeated_and_unknown_are_sorted_out(api: Api) -> None:
    ids = api.post('jobs', 1, 2, 3)
    query = f'ids={ids[2]},x&ids={ids[0]},{ids[2]}&limit=nonsense&ids=%C3%A9'
    answer = api('GET', f'{MESSAGES}?{query}')
    assert [m['body'] for m in answer.json['messages']] == [1, 3]


def test_ids_find_claimed_delayed_and_own_messages(api: Api) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 1})
    claimed = api.post('jobs', 1, delay=0)
    api.claim('jobs')
    ids = ','.join(claimed + api.post('jobs', 2, delay=50))
    messages = api('GET', f'{MESSAGES}?ids={ids}').json['messages']
    assert [message['body'] for message in messages] == [1, 2]


@pytest.mark.parametrize('exists', [True, False])
def test_no_message_under_any_id_is_404(api: Api, exists: bool) -> None:
    if exists:
        api('PUT', QUEUE)
    answer = api('GET', f'{MESSAGES}?ids=a,b')
    assert answer.is_error(
        404,
        'Not found',
        "No messages with IDs: ['a', 'b'] found in the queue jobs for "
        f'project {api.project}.',
    )
    assert api('GET', f'{MESSAGES}?ids=-1').status == 404


def test_at_most_twenty_ids_may_be_asked_for(api: Api) -> None:
    ids = api.post('jobs', *range(21))
    assert api('GET', f'{MESSAGES}?ids={",".join(ids[:20])}').status == 200
    answer = api('GET', f'{MESSAGES}?ids={",".join(ids)}')
    assert answer.is_error(
        400,
        'Invalid API request',
        'Limit must be at least 1 and may not be greater than 20.',
    )
    answer = api('DELETE', f'{MESSAGES}?ids={",".join(ids)}')
    assert answer.is_error(
        400,
        'Invalid API request',
        'ids parameter should have at least 1 and not greater than 20 values.',
    )


# One by id.


@pytest.mark.parametrize('exists', [True, False])
@pytest.mark.parametrize('bad', ['x', 'f' * 32, '%C3%A9', '%00', 'a' * 500])
def test_a_message_that_is_not_there_is_404_and_deleting_it_204(
    api: Api, bad: str, exists: bool
) -> None:
    if exists:
        api('PUT', QUEUE)
    answer = api('GET', f'{MESSAGES}/{bad}')
    assert answer.is_error(404, 'Not found')
    if bad == 'x':
        assert answer.description == (
            f'Message x does not exist in queue jobs for project {api.project}'
        )
    assert api('DELETE', f'{MESSAGES}/{bad}').status == 204
    assert api('DELETE', f'{MESSAGES}/{bad}?claim_id=x').status == 204


@pytest.mark.proves('ids are scoped')
def test_a_message_belongs_to_its_queue_and_project(api: Api) -> None:
    (message_id,) = api.post('jobs', 'secret')
    api.post('other', 'x')
    stranger = api.as_project('b')
    stranger.post('jobs', 'x')
    for who, path in (
        (api, f'/v2/queues/other/messages/{message_id}'),
        (stranger, f'{MESSAGES}/{message_id}'),
    ):
        assert who('GET', path).status == 404
        assert who('DELETE', path).status == 204
    assert api('GET', f'{MESSAGES}/{message_id}?claim_id=x').status == 200


NOT_CLAIMED = (
    'A claim was specified, but the message is not currently claimed.'
)


NO_CLAIM = 'The specified claim does not exist or has expired.'
CLAIMED = (
    'This message is claimed; it cannot be deleted without a valid claim ID.'
)


def _claim_one(api: Api) -> str:
    answer = api('POST', f'{QUEUE}/claims?limit=1', {'ttl': 60})
    return answer.headers['location'].split('/')[-1]


def test_a_free_message_is_deleted_without_a_claim_only(api: Api) -> None:
    ids = api.post('jobs', 1, 2)
    claim = _claim_one(api)
    answer = api('DELETE', f'{MESSAGES}/{ids[1]}?claim_id={claim}')
    assert answer.is_error(400, 'Unable to delete')
    assert answer.description in (NOT_CLAIMED, NO_CLAIM)
    answer = api('DELETE', f'{MESSAGES}/{ids[1]}?claim_id=x')
    assert answer.is_error(400, 'Unable to delete')
    assert api('DELETE', f'{MESSAGES}/{ids[1]}').status == 204
    assert api('DELETE', f'{MESSAGES}/{ids[1]}').status == 204


def test_a_claimed_message_is_deleted_with_its_claim_only(api: Api) -> None:
    ids = api.post('jobs', 1, 2)
    mine, theirs = _claim_one(api), _claim_one(api)
    path = f'{MESSAGES}/{ids[0]}'
    assert api('DELETE', path).is_error(403, 'Unable to delete', CLAIMED)
    answer = api('DELETE', f'{path}?claim_id={theirs}')
    assert answer.is_error(403, 'Unable to delete', CLAIMED)
    for unknown in ('x', 'f' * 32, '%C3%A9'):
        answer = api('DELETE', f'{path}?claim_id={unknown}')
        assert answer.is_error(400, 'Unable to delete', NO_CLAIM)
    assert api('DELETE', f'{path}?claim_id={mine}').status == 204
    assert api('GET', path).status == 404


def test_an_expired_claim_deletes_nothing(api: Api) -> None:
    (message_id,) = api.post('jobs', 1)
    claim = _claim_one(api)
    api.clock.move(60)
    answer = api('DELETE', f'{MESSAGES}/{message_id}?claim_id={claim}')
    assert answer.is_error(400, 'Unable to delete')
    assert api('DELETE', f'{MESSAGES}/{message_id}').status == 204


def test_a_deleted_message_leaves_its_claim(api: Api) -> None:
    ids = api.post('jobs', 1, 2)
    claim = api.claim('jobs').headers['location']
    claim_id = claim.split('/')[-1]
    api('DELETE', f'{MESSAGES}/{ids[0]}?claim_id={claim_id}')
    held = api('GET', claim).json['messages']
    assert [message['id'] for message in held] == [ids[1]]


# Deleting several, popping.


def test_bulk_deletion_takes_claimed_messages_too(api: Api) -> None:
    ids = api.post('jobs', 1, 2)
    api.claim('jobs')
    answer = api('DELETE', f'{MESSAGES}?ids={",".join([*ids, "x"])}')
    assert (answer.status, answer.body) == (204, b'')
    assert api('GET', f'{QUEUE}/stats').json['messages']['total'] == 0


def test_bulk_deletion_from_a_missing_queue_is_204(api: Api) -> None:
    assert api('DELETE', f'{MESSAGES}?ids=a,b').status == 204
    assert _queues(api) == 0


def test_popping_takes_the_oldest_free_ones(api: Api) -> None:
    ids = api.post('jobs', 0, 1, 2, 3)
    _claim_one(api)
    api.clock.move(5)
    answer = api('DELETE', f'{MESSAGES}?pop=2')
    assert answer.status == 200
    assert answer.json == {
        'messages': [
            {
                'id': ids[number],
                'age': 5,
                'ttl': 3600,
                'body': number,
                'claim_id': None,
                'claim_count': 0,
            }
            for number in (1, 2)
        ]
    }
    again = api('DELETE', f'{MESSAGES}?pop=20').json['messages']
    assert [message['body'] for message in again] == [3]


@pytest.mark.parametrize('exists', [True, False])
def test_popping_nothing_is_an_empty_200(api: Api, exists: bool) -> None:
    if exists:
        api('PUT', QUEUE)
    answer = api('DELETE', f'{MESSAGES}?pop=1')
    assert (answer.status, answer.json) == (200, {'messages': []})
    assert _queues(api) == exists


@pytest.mark.parametrize(
    ('query', 'title', 'text'),
    [
        (
            'ids=a&pop=1',
            'Invalid API request',
            'pop and id params cannot be present together in the delete '
            'request.',
        ),
        *(
            (
                query,
                'Invalid API request',
                'The request should have either "ids" or "pop" parameter in '
                'the request, to be able to delete.',
            )
            for query in ('', 'ids=', 'pop=', 'ids=&pop=', 'other=1')
        ),
        *(
            (
                f'pop={number}',
                'Invalid API request',
                'Pop value must be at least 1 and may not be greater than 20.',
            )
            for number in ('0', '-1', '21')
        ),
        *(
            (
                f'pop={text}',
                'Invalid parameter',
                'The "pop" parameter is invalid. The value must be an '
                'integer.',
            )
            for text in ('%20', 'x', '1.5')
        ),
    ],
)
def test_a_faulty_bulk_deletion_is_refused(
    api: Api, query: str, title: str, text: str
) -> None:
    api.post('jobs', 1)
    answer = api('DELETE', f'{MESSAGES}?{query}')
    assert answer.is_error(400, title, text)
    assert api.bodies('jobs') == [1]


class TestDeletionWithClaims:
    """``message_delete_with_claim_id`` on."""

    @pytest.fixture
    def strict(self, make_api: MakeApi) -> Api:
        return make_api('[transport]\nmessage_delete_with_claim_id = true')

    def test_ids_need_claims_and_pop_must_not_have_them(
        self, strict: Api
    ) -> None:
        text = (
            'The request should have both "ids" and "claim_ids" parameter in '
            'the request when message_delete_with_claim_id is True.'
        )
        for query in ('ids=a', 'ids=a&claim_ids=', 'claim_ids=c'):
            answer = strict('DELETE', f'{MESSAGES}?{query}')
            assert answer.status == 400
        answer = strict('DELETE', f'{MESSAGES}?ids=a')
        assert answer.is_error(400, 'Invalid API request', text)
        answer = strict('DELETE', f'{MESSAGES}?pop=1&claim_ids=c')
        assert answer.is_error(400, 'Invalid API request')
        assert strict('DELETE', f'{MESSAGES}?pop=1').status == 200

    def test_every_message_must_be_held_by_one_of_the_claims(
        self, strict: Api
    ) -> None:
        ids = strict.post('jobs', 1, 2, 3)
        first, second = _claim_one(strict), _claim_one(strict)
        both = f'{first},{second}'
        for wanted, claims in ((ids, both), (ids[:2], first)):
            query = f'ids={",".join(wanted)}&claim_ids={claims}'
            answer = strict('DELETE', f'{MESSAGES}?{query}')
            assert answer.is_error(403, 'Unable to delete')
        query = f'ids={ids[0]}&claim_ids={first}&claim_ids=unknown'
        answer = strict('DELETE', f'{MESSAGES}?{query}')
        assert answer.is_error(400, 'Unable to delete')
        stats = strict('GET', f'{QUEUE}/stats').json['messages']
        assert stats['total'] == 3
        query = f'ids={ids[0]},{ids[1]},gone&claim_ids={first}'
        answer = strict('DELETE', f'{MESSAGES}?{query}&claim_ids={second}')
        assert answer.status == 204
        stats = strict('GET', f'{QUEUE}/stats').json['messages']
        assert stats['total'] == 1


def test_claim_ids_are_ignored_by_default(api: Api) -> None:
    ids = api.post('jobs', 1)
    assert api('DELETE', f'{MESSAGES}?ids={ids[0]}&claim_ids=x').status == 204
