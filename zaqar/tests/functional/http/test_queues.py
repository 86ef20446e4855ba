# SPDX-License-Identifier: Apache-2.0
"""Queues: reference/http, "Queues"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.controllers import queues
from zaqar.tests.functional.http.client import PATCH, Api, Response
from zaqar.tests.functional.http.conftest import MakeApi
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import TURN, Turn

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/jobs'

DEFAULTS = {
    '_max_messages_post_size': 262144,
    '_default_message_ttl': 3600,
    '_default_message_delay': 0,
    '_dead_letter_queue': None,
    '_dead_letter_queue_messages_ttl': None,
    '_max_claim_count': None,
    '_enable_encrypt_messages': False,
}


def _patch(api: Api, *changes: Any, kind: str | None = PATCH) -> Response:
    return api('PATCH', QUEUE, list(changes), headers={'Content-Type': kind})


def _names(answer: Response) -> list[str]:
    return [queue['name'] for queue in answer.json['queues']]


def test_creating_a_queue_is_201_then_204_and_changes_nothing(
    api: Api,
) -> None:
    first = api('PUT', QUEUE, {'owner': 'ops'})
    assert (first.status, first.body) == (201, b'')
    assert first.headers['location'] == QUEUE
    again = api('PUT', QUEUE, {'owner': 'dev', 'more': 1})
    assert (again.status, again.body) == (204, b'')
    assert again.headers['location'] == QUEUE
    assert api('GET', QUEUE).json == {'owner': 'ops', **DEFAULTS}


def test_the_body_of_a_put_on_an_existing_queue_is_still_checked(
    api: Api,
) -> None:
    api('PUT', QUEUE)
    answer = api('PUT', QUEUE, {'_default_message_ttl': 1})
    assert answer.is_error(400, 'Invalid API request')


@pytest.mark.parametrize('document', [[], [{'a': 1}]])
def test_metadata_that_is_no_object_is_refused(
    api: Api, document: Any
) -> None:
    answer = api('PUT', QUEUE, document)
    assert answer.is_error(
        400, 'Invalid request body', 'Document type not supported.'
    )
    assert _names(api('GET', '/v2/queues')) == []


def _sized(size: int) -> bytes:
    return b'{"a": "' + b'x' * (size - 9) + b'"}'


def test_metadata_may_be_as_long_as_the_limit_and_no_longer(
    make_api: MakeApi,
) -> None:
    api = make_api('[transport]\nmax_queue_metadata = 600')
    assert api('PUT', QUEUE, raw=_sized(600)).status == 201
    answer = api('PUT', '/v2/queues/other', raw=_sized(601))
    assert answer.is_error(
        400,
        'Invalid API request',
        'Queue metadata is too large. Max size: 600',
    )
    patch = api(
        'PATCH', QUEUE, raw=b' ' * 601, headers={'Content-Type': PATCH}
    )
    assert patch.is_error(
        400,
        'Invalid request body',
        'Queue metadata is too large. Max size: 600',
    )


def test_patches_cannot_make_metadata_outgrow_the_limit(
    make_api: MakeApi,
) -> None:
    api = make_api('[transport]\nmax_queue_metadata = 600')
    api('PUT', QUEUE, raw=_sized(500))
    change = {'op': 'add', 'path': '/metadata/b', 'value': 'x' * 150}
    answer = _patch(api, change)
    assert answer.is_error(400, 'Invalid request body', 'too large')
    assert 'b' not in api('GET', QUEUE).json


@pytest.mark.parametrize(
    ('key', 'value', 'text'),
    [
        ('_default_message_ttl', '60', 'must be integer.'),
        ('_default_message_ttl', 60.0, 'must be integer.'),
        ('_default_message_ttl', True, 'must be integer.'),
        ('_default_message_ttl', False, 'must be integer.'),
        ('_default_message_ttl', '', 'must be integer.'),
        (
            '_default_message_ttl',
            59,
            'can not exceed 1209600 seconds, and must be at least 60 seconds',
        ),
        ('_default_message_ttl', 0, 'can not exceed 1209600 seconds'),
        ('_default_message_ttl', 1209601, 'can not exceed 1209600 seconds'),
        ('_max_messages_post_size', [], 'must be integer.'),
        (
            '_max_messages_post_size',
            0,
            'can not exceed 262144,  and must be at least greater than 0.',
        ),
        ('_max_messages_post_size', 262145, 'can not exceed 262144'),
        ('_max_claim_count', 'x', 'must be integer.'),
        ('_max_claim_count', -1, '_max_claim_count'),
        ('_dead_letter_queue_messages_ttl', {}, 'must be integer.'),
        (
            '_dead_letter_queue_messages_ttl',
            59,
            'The TTL for a message may not exceed 1209600 seconds',
        ),
        ('_default_message_delay', 'x', 'must be integer.'),
        (
            '_default_message_delay',
            901,
            'The TTL can not exceed 900 seconds, and must be at least 0',
        ),
        ('_default_message_delay', -1, 'The TTL can not exceed 900'),
        ('_enable_encrypt_messages', 'x', 'must be boolean.'),
        ('_enable_encrypt_messages', 1, 'must be boolean.'),
        ('_dead_letter_queue', 'a@b', '_dead_letter_queue'),
        ('_dead_letter_queue', 7, '_dead_letter_queue'),
        ('_retry_policy', 'x', 'retry_policy must be a dict.'),
    ],
)
def test_a_reserved_key_of_the_wrong_kind_is_refused(
    api: Api, key: str, value: Any, text: str
) -> None:
    answer = api('PUT', QUEUE, {key: value})
    assert answer.is_error(400, 'Invalid API request', text)
    assert _names(api('GET', '/v2/queues')) == []
    api('PUT', QUEUE)
    answer = _patch(
        api, {'op': 'add', 'path': f'/metadata/{key}', 'value': value}
    )
    assert answer.is_error(400, 'Invalid request body', text)
    assert api('GET', QUEUE).json == DEFAULTS


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('_default_message_ttl', 60),
        ('_default_message_ttl', 1209600),
        ('_max_messages_post_size', 1),
        ('_max_messages_post_size', 262144),
        ('_max_claim_count', 1),
        ('_dead_letter_queue_messages_ttl', 60),
        ('_default_message_delay', 900),
        ('_dead_letter_queue', 'dead'),
        ('_flavor', 'any'),
        ('_other', 'free'),
    ],
)
def test_a_key_within_its_range_is_kept(
    api: Api, key: str, value: Any
) -> None:
    assert api('PUT', QUEUE, {key: value}).status == 201
    assert api('GET', QUEUE).json[key] == value


@pytest.mark.parametrize('value', [0, None])
@pytest.mark.parametrize('key', ['_default_message_delay', '_max_claim_count'])
def test_what_is_stored_as_nothing_is_shown_as_the_default(
    api: Api, key: str, value: Any
) -> None:
    assert api('PUT', QUEUE, {key: value}).status == 201
    assert api('GET', QUEUE).json == DEFAULTS


def test_a_queue_that_does_not_exist_shows_the_defaults(api: Api) -> None:
    answer = api('GET', '/v2/queues/nowhere')
    assert (answer.status, answer.json) == (200, DEFAULTS)
    assert _names(api('GET', '/v2/queues')) == []


def test_shown_defaults_are_what_an_operator_set(make_api: MakeApi) -> None:
    api = make_api(
        '[transport]\nmax_messages_post_size = 1000\n'
        'default_message_ttl = 100\ndefault_message_delay = 7'
    )
    metadata = api('GET', QUEUE).json
    assert metadata['_max_messages_post_size'] == 1000
    assert metadata['_default_message_ttl'] == 100
    assert metadata['_default_message_delay'] == 7


# The listing.


def test_queues_are_listed_by_the_bytes_of_their_names(api: Api) -> None:
    for name in ('b', 'B', 'a.b', 'a-b', 'ab', 'a'):
        api('PUT', f'/v2/queues/{name}')
    api.as_project('other').__call__('PUT', '/v2/queues/theirs')
    assert _names(api('GET', '/v2/queues')) == [
        'B',
        'a',
        'a-b',
        'a.b',
        'ab',
        'b',
    ]


def test_a_page_has_ten_queues_and_links_to_the_next(api: Api) -> None:
    for number in range(12):
        api('PUT', f'/v2/queues/q{number:02}')
    first = api('GET', '/v2/queues')
    assert len(first.json['queues']) == 10
    assert 'metadata' not in first.json['queues'][0]
    assert first.json['queues'][0]['href'] == '/v2/queues/q00'
    assert 'count' not in first.json
    (link,) = first.json['links']
    assert link['rel'] == 'next'
    second = api('GET', link['href'])
    assert _names(second) == ['q10', 'q11']
    # Not empty, so it links on; and the page behind it is empty.
    (link,) = second.json['links']
    last = api('GET', link['href'])
    assert last.json == {'queues': [], 'links': []}


def test_a_default_page_keeps_to_a_lower_maximum(make_api: MakeApi) -> None:
    api = make_api('[transport]\nmax_queues_per_page = 3')
    for number in range(4):
        api('PUT', f'/v2/queues/q{number}')
    assert len(_names(api('GET', '/v2/queues'))) == 3


@pytest.mark.parametrize('limit', ['0', '-1', '21', '200'])
def test_a_limit_out_of_range_is_refused(api: Api, limit: str) -> None:
    answer = api('GET', f'/v2/queues?limit={limit}')
    assert answer.is_error(
        400,
        'Invalid API request',
        'Limit must be at least 1 and no greater than 20.',
    )


def test_a_marker_need_not_exist(api: Api) -> None:
    for name in ('a', 'c'):
        api('PUT', f'/v2/queues/{name}')
    assert _names(api('GET', '/v2/queues?marker=b')) == ['c']
    assert _names(api('GET', '/v2/queues?marker=%C3%A9')) == []
    assert _names(api('GET', f'/v2/queues?marker={"a" * 5000}')) == ['c']
    assert _names(api('GET', '/v2/queues?marker=a%00z')) == ['c']


def test_detailed_adds_metadata_with_defaults(api: Api) -> None:
    api('PUT', QUEUE, {'owner': 'ops'})
    answer = api('GET', '/v2/queues?detailed=true')
    assert answer.json['queues'][0]['metadata'] == {
        'owner': 'ops',
        **DEFAULTS,
    }
    assert 'detailed=true' in answer.json['links'][0]['href']


def test_with_count_counts_all_queues_unless_there_are_none(
    api: Api,
) -> None:
    path = '/v2/queues?with_count=true'
    assert 'count' not in api('GET', path).json
    for name in ('a', 'b', 'c'):
        api('PUT', f'/v2/queues/{name}')
    answer = api('GET', f'{path}&limit=1&name=b').json
    assert (len(answer['queues']), answer['count']) == (1, 3)


def test_a_list_shows_the_statistics_of_queues_in_short(api: Api) -> None:
    newer = {'OpenStack-API-Version': 'messaging 2.1'}
    path = '/v2/queues?with_stats=true'
    api('PUT', '/v2/queues/empty')
    messages = [{'body': 1, 'ttl': 300}, {'body': 2, 'ttl': 300, 'delay': 90}]
    api('POST', f'{QUEUE}/messages', {'messages': messages}, headers=newer)
    answer = api('GET', path, headers=newer).json
    alone = api('GET', f'{QUEUE}/stats', headers=newer).json
    shown = {one['name']: one['stats'] for one in answer['queues']}
    assert shown['empty']['messages']['total'] == 0
    assert shown['empty']['oldest_free_age'] is None
    counts = {'free': 2, 'claimed': 0, 'total': 2, 'delayed': 1}
    assert shown['jobs']['messages'] == counts
    assert shown['jobs'].keys() == alone.keys()
    assert 'with_stats=true' in answer['links'][0]['href']
    assert b'stats' not in api('GET', '/v2/queues', headers=newer).body
    # To older clients it is a filter, as ever.
    assert api('GET', path).json['queues'] == []


@pytest.mark.proves('name filter is literal')
@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('o', ['foo', 'fooo']),
        ('oo', ['foo', 'fooo']),
        ('F', []),
        ('.*', []),
        ('a.', ['a.b']),
        ('%5B', []),
        ('', ['a.b', 'bar', 'foo', 'fooo']),
    ],
)
def test_name_keeps_queues_that_contain_it_literally(
    api: Api, name: str, expected: list[str]
) -> None:
    for queue in ('foo', 'fooo', 'bar', 'a.b'):
        api('PUT', f'/v2/queues/{queue}')
    assert _names(api('GET', f'/v2/queues?name={name}')) == expected


def test_other_parameters_filter_by_metadata(api: Api) -> None:
    api('PUT', '/v2/queues/a', {'owner': 'ops', 'n': 1})
    api('PUT', '/v2/queues/b', {'owner': 'ops', 'n': '1'})
    api('PUT', '/v2/queues/c', {'owner': 'dev', 'n': 1})
    api('PUT', '/v2/queues/d')
    path = '/v2/queues?'
    assert _names(api('GET', f'{path}owner=ops')) == ['a', 'b']
    assert _names(api('GET', f'{path}n=1')) == ['a', 'c']
    assert _names(api('GET', f'{path}n=1&owner=ops')) == ['a']
    assert _names(api('GET', f'{path}nothing=x')) == []


def test_the_next_link_keeps_the_filters(api: Api) -> None:
    for name in ('a', 'b', 'c'):
        api('PUT', f'/v2/queues/{name}', {'owner': 'é&='})
    page = api('GET', '/v2/queues?owner=%C3%A9%26%3D&limit=2')
    assert _names(page) == ['a', 'b']
    href = page.json['links'][0]['href']
    assert not {'{', '}'} & set(href)
    assert _names(api('GET', href)) == ['c']


def _walk(api: Api, href: str) -> tuple[list[str], int]:
    """Return the names of all pages, and how many pages there are."""
    names: list[str] = []
    for number in range(1, 100):
        page = api('GET', href)
        names += _names(page)
        if not page.json['links']:
            assert not _names(page)
            return names, number
        href = page.json['links'][0]['href']
    raise AssertionError('the list does not end')


@pytest.mark.parametrize('query', ['kind=rare', 'name=1', 'n=x'])
def test_a_request_reads_a_bounded_amount_of_metadata(
    api: Api, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, 'MOST_BYTES', 100_000)
    for number in range(60):
        kind = 'rare' if number % 25 == 24 else 'usual'
        metadata = {'kind': kind, 'filler': 'x' * 10_000}
        api('PUT', f'/v2/queues/q{number:02}', metadata)
    management = api.service.catalogue.management
    read = management.list
    read_by_page: list[int] = []

    def counted(*key: str, **options: Any) -> Any:
        rows = read(*key, **options)
        read_by_page[-1] += len(rows)
        return rows

    monkeypatch.setattr(management, 'list', counted)
    expected = {
        'kind=rare': ['q24', 'q49'],
        'name=1': [f'q{n:02}' for n in range(60) if '1' in f'{n:02}'],
        'n=x': [],
    }
    href, names = f'/v2/queues?limit=2&{query}', []
    for _ in range(60):
        read_by_page.append(0)
        page = api('GET', href)
        names += _names(page)
        if not page.json['links']:
            break
        href = page.json['links'][0]['href']
    assert names == expected[query]
    # What the budget holds, and the batch that goes beyond it.
    assert max(read_by_page) <= 20
    assert len(read_by_page) < 40


@pytest.mark.parametrize('query', ['', '?name=7', '?n=x'])
def test_a_project_that_has_much_metadata_read_takes_turns(
    api: Api, query: str
) -> None:
    turns = Turns()
    for number in range(8):
        api('PUT', f'/v2/queues/q{number}', {'filler': 'x' * 10_000})
        turn = Turn(turns)
        page = api('GET', f'/v2/queues{query}', environ={TURN: turn})
        turn.record(len(page.body))
    assert turns.are_needed('queue_list', api.project)


def test_a_request_reads_a_bounded_number_of_records(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, 'MOST_SCANNED', 15)
    for number in range(40):
        api('PUT', f'/v2/queues/q{number:02}', {'n': number})
    names, pages = _walk(api, '/v2/queues?n=39')
    assert (names, pages) == (['q39'], 4)
    assert _walk(api, '/v2/queues')[0] == [f'q{n:02}' for n in range(40)]


@pytest.mark.parametrize('query', ['n=1,2', 'n=1&n=2'])
def test_a_filter_with_several_values_is_refused(api: Api, query: str) -> None:
    answer = api('GET', f'/v2/queues?{query}')
    assert answer.status == 400


@pytest.mark.parametrize(
    'query', ['limit=x', 'limit=1.0', 'limit=%20', 'detailed=TRUE']
)
def test_a_parameter_of_the_wrong_type_is_refused(
    api: Api, query: str
) -> None:
    name = query.split('=')[0]
    answer = api('GET', f'/v2/queues?{query}')
    assert answer.is_error(
        400, 'Invalid parameter', f'The "{name}" parameter is invalid.'
    )


def test_blank_parameters_are_absent_and_the_last_of_several_counts(
    api: Api,
) -> None:
    for name in ('a', 'b', 'c'):
        api('PUT', f'/v2/queues/{name}')
    path = '/v2/queues?limit=&marker=&detailed='
    assert _names(api('GET', path)) == ['a', 'b', 'c']
    assert _names(api('GET', '/v2/queues?limit=1&limit=2')) == ['a', 'b']
    assert _names(api('GET', '/v2/queues?limit=1,2')) == ['a', 'b']


# Changes.


def test_add_replace_and_remove_apply_in_order(api: Api) -> None:
    api('PUT', QUEUE, {'a': 1, 'b': 2})
    answer = _patch(
        api,
        {'op': 'add', 'path': '/metadata/c', 'value': None},
        {'op': 'replace', 'path': '/metadata/c', 'value': {'x': []}},
        {'op': 'replace', 'path': '/METADATA/a', 'value': 3},
        {'op': 'remove', 'path': '/metadata/b'},
        {'op': 'add', 'path': '/metadata/d~1e~0f', 'value': 4},
    )
    expected = {'a': 3, 'c': {'x': []}, 'd/e~f': 4, **DEFAULTS}
    assert (answer.status, answer.json) == (200, expected)
    assert api('GET', QUEUE).json == expected


def test_reserved_keys_may_be_replaced_and_removed_before_they_are_set(
    api: Api,
) -> None:
    api('PUT', QUEUE)
    answer = _patch(
        api,
        {
            'op': 'replace',
            'path': '/metadata/_default_message_ttl',
            'value': 300,
        },
        *(
            {'op': 'remove', 'path': f'/metadata/{key}'}
            for key in DEFAULTS
            if key != '_default_message_ttl'
        ),
    )
    expected = {**DEFAULTS, '_default_message_ttl': 300}
    assert (answer.status, answer.json) == (200, expected)


@pytest.mark.parametrize('op', ['replace', 'remove'])
@pytest.mark.parametrize('key', ['absent', '_flavor', '_retry_policy'])
def test_other_keys_must_be_there(api: Api, op: str, key: str) -> None:
    api('PUT', QUEUE, {'a': 1})
    answer = _patch(
        api,
        {'op': 'add', 'path': '/metadata/b', 'value': 1},
        {'op': op, 'path': f'/metadata/{key}', 'value': 'x'},
    )
    assert answer.is_error(
        409, 'Resource conflict', f"Can't {op} non-existent object {key}."
    )
    assert api('GET', QUEUE).json == {'a': 1, **DEFAULTS}


def test_an_empty_patch_changes_nothing(api: Api) -> None:
    api('PUT', QUEUE, {'a': 1})
    answer = _patch(api)
    assert (answer.status, answer.json) == (200, {'a': 1, **DEFAULTS})


@pytest.mark.parametrize(
    'kind',
    [
        None,
        'application/json',
        f'{PATCH}; charset=utf-8',
        PATCH.upper(),
        'application/openstack-messaging-v2.1-json-patch',
    ],
)
def test_a_patch_of_another_type_is_415(api: Api, kind: str | None) -> None:
    api('PUT', QUEUE, {'a': 1})
    answer = _patch(api, {'op': 'remove', 'path': '/metadata/a'}, kind=kind)
    assert answer.is_error(
        415,
        '415 Unsupported Media Type',
        "Accepted media type for PATCH: {'Accept-Patch': "
        "'application/openstack-messaging-v2.0-json-patch'}.",
    )
    assert answer.headers['accept-patch'] == PATCH
    assert api('GET', QUEUE).json['a'] == 1


def test_a_patch_creates_no_queue(api: Api) -> None:
    change = {'op': 'remove', 'path': '/metadata/a'}
    answer = _patch(api, change)
    assert answer.is_error(
        404,
        'Not found',
        f'Queue jobs does not exist for project {api.project}',
    )
    # Syntax comes first.
    assert _patch(api, {'op': 'x'}).status == 400
    assert _names(api('GET', '/v2/queues')) == []


PATHS = [
    ('metadata/a', ''),
    ('/metadata', 'Invalid JSON pointer for this resource: '),
    (
        '/metadata/a/b',
        "Invalid JSON pointer for this resource: '/metadata/a/b, "
        "e.g /metadata/key'",
    ),
    ('/metadata/', ''),
    ('/metadata//a', ''),
    ('/metadata/~', ''),
    ('/metadata/a~2', ''),
    (
        '/other/a',
        'The root of path must be metadata, e.g /metadata/key.',
    ),
    ('', ''),
    (7, ''),
    (None, ''),
    (['/metadata/a'], ''),
]


@pytest.mark.parametrize(('path', 'text'), PATHS)
@pytest.mark.parametrize('op', ['add', 'remove'])
def test_a_pointer_that_leads_nowhere_is_refused(
    api: Api, path: Any, text: str, op: str
) -> None:
    api('PUT', QUEUE, {'a': 1})
    answer = _patch(api, {'op': op, 'path': path, 'value': 1})
    assert answer.is_error(400, 'Invalid request body', text)


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (7, 'Operations must be JSON objects.'),
        ({'path': '/metadata/a', 'value': 1}, 'Unable to find `op`'),
        (
            {'op': 'move', 'path': '/metadata/a', 'value': 1},
            'Invalid operation: `move`. It must be one of the following: '
            'add, remove, replace.',
        ),
        (
            {'op': 'ADD', 'path': '/metadata/a', 'value': 1},
            'Invalid operation: `ADD`.',
        ),
        (
            {'op': 'add', 'value': 1},
            "Unable to find 'path' in JSON Schema change",
        ),
        (
            {'op': 'add', 'path': '/metadata/a'},
            'Operation "add" requires a member named "value".',
        ),
        (
            {'op': 'replace', 'path': '/metadata/a'},
            'Operation "replace" requires a member named "value".',
        ),
        ({'op': ['add'], 'path': '/metadata/a', 'value': 1}, ''),
    ],
)
def test_a_faulty_change_is_refused(api: Api, change: Any, text: str) -> None:
    api('PUT', QUEUE, {'a': 1})
    answer = _patch(api, change)
    assert answer.is_error(400, 'Invalid request body', text)
    assert api('GET', QUEUE).json == {'a': 1, **DEFAULTS}


def test_a_patch_that_is_an_object_is_refused(api: Api) -> None:
    api('PUT', QUEUE)
    answer = api('PATCH', QUEUE, {}, headers={'Content-Type': PATCH})
    assert answer.is_error(
        400,
        'Invalid request body',
        'Request body must be a JSON array of operation objects.',
    )


# Deletion, statistics, purge.


def test_deleting_a_queue_takes_messages_and_claims(api: Api) -> None:
    api('PUT', QUEUE, {'a': 1, '_default_message_delay': 1})
    (first, second) = api.post('jobs', 1, 2)
    api.post('jobs', 3, delay=100)
    api.clock.move(2)
    claim = api.claim('jobs').headers['location']
    for _ in range(2):
        assert api('DELETE', QUEUE).status == 204
    assert api('GET', claim).status == 404
    for message in (first, second):
        assert api('GET', f'{QUEUE}/messages/{message}').status == 404
    assert api('PUT', QUEUE).status == 201
    assert api('GET', QUEUE).json == DEFAULTS
    assert api.bodies('jobs', 'echo=1&include_claimed=1') == []
    assert api('GET', f'{QUEUE}/stats').json['messages']['total'] == 0


@pytest.mark.proves('statistics without content')
def test_statistics_count_states_and_name_both_ends(api: Api) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 1})
    (oldest,) = api.post('jobs', 1)
    api.clock.move(100)
    api.claim('jobs', ttl=60)
    (newest,) = api.post('jobs', 2, delay=500)
    api.clock.move(18.7)
    stats = api('GET', f'{QUEUE}/stats')
    assert stats.status == 200
    assert stats.json == {
        'messages': {
            'claimed': 1,
            'free': 1,
            'total': 2,
            'oldest': {
                'href': f'{QUEUE}/messages/{oldest}',
                'age': 118,
                'created': '2027-01-15T08:00:00Z',
            },
            'newest': {
                'href': f'{QUEUE}/messages/{newest}',
                'age': 18,
                'created': '2027-01-15T08:01:40Z',
            },
        }
    }
    api.clock.move(60)
    after = api('GET', f'{QUEUE}/stats').json['messages']
    assert (after['claimed'], after['free']) == (0, 2)


@pytest.mark.parametrize('exists', [True, False])
def test_statistics_of_nothing_are_zeros(api: Api, exists: bool) -> None:
    if exists:
        api('PUT', QUEUE)
    answer = api('GET', f'{QUEUE}/stats')
    zeros = {'claimed': 0, 'free': 0, 'total': 0}
    assert (answer.status, answer.json) == (200, {'messages': zeros})
    assert _names(api('GET', '/v2/queues')) == (['jobs'] if exists else [])


@pytest.mark.parametrize(
    ('document', 'left'),
    [
        (None, 0),
        ({'resource_types': ['messages']}, 0),
        ({'resource_types': ['messages', 'subscriptions']}, 0),
        ({'resource_types': ['subscriptions']}, 3),
        ({'resource_types': []}, 3),
    ],
)
def test_a_purge_takes_what_it_names_and_leaves_the_queue(
    api: Api, document: Any, left: int
) -> None:
    api('PUT', QUEUE, {'a': 1, '_default_message_delay': 1})
    api.post('jobs', 1, 2)
    api.clock.move(2)
    claim = api.claim('jobs', ttl=100)
    api.post('jobs', 3, delay=100)
    arguments = () if document is None else (document,)
    assert api('POST', f'{QUEUE}/purge', *arguments).status == 204
    stats = api('GET', f'{QUEUE}/stats').json['messages']
    assert stats['total'] == left
    assert api('GET', QUEUE).json['a'] == 1
    assert api('GET', claim.headers['location']).status == (
        200 if left else 404
    )


def test_a_purge_creates_no_queue(api: Api) -> None:
    assert api('POST', f'{QUEUE}/purge').status == 204
    assert _names(api('GET', '/v2/queues')) == []


KEY = 'Post body must contain key "resource_types".'
SUBSET = 'Resource types must be a sub set of'


@pytest.mark.parametrize(
    ('document', 'text'),
    [
        ({}, KEY),
        ({'other': 1}, KEY),
        ([], KEY),
        ({'resource_types': ['claims']}, SUBSET),
        ({'resource_types': 'messages'}, SUBSET),
        ({'resource_types': None}, ''),
        ({'resource_types': [['messages']]}, ''),
        ({'resource_types': 1}, ''),
    ],
)
def test_a_faulty_purge_is_refused(api: Api, document: Any, text: str) -> None:
    api.post('jobs', 1)
    answer = api('POST', f'{QUEUE}/purge', document)
    assert answer.is_error(400, 'Invalid API request', text)
    assert api.bodies('jobs') == [1]
