# SPDX-License-Identifier: Apache-2.0
"""Subscriptions: reference/http, "Subscriptions"."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest

from zaqar.controllers import subscription_records
from zaqar.errors import StoreUnavailable
from zaqar.models import Scope
from zaqar.tests.functional.http.client import Api, Response
from zaqar.tests.functional.http.conftest import MakeApi

QUEUE = '/v2/queues/jobs'
ALL = f'{QUEUE}/subscriptions'
HOOK = 'https://ops.example/hook'


def _post(api: Api, **fields: Any) -> Response:
    return api('POST', ALL, {'subscriber': HOOK, **fields})


def _make(api: Api, **fields: Any) -> str:
    answer = _post(api, **fields)
    assert answer.status == 201, answer
    return f'{ALL}/{answer.json["subscription_id"]}'


def _list(api: Api, query: str = '') -> list[str]:
    listed = api('GET', f'{ALL}{query}').json['subscriptions']
    return [one['subscriber'] for one in listed]


# Creation.


def test_subscribing_answers_with_an_id_and_makes_the_queue(
    api: Api,
) -> None:
    answer = _post(api)
    assert answer.status == 201
    assert set(answer.json) == {'subscription_id'}
    assert answer.headers['location'] == ALL
    queues = api('GET', '/v2/queues').json['queues']
    assert [queue['name'] for queue in queues] == ['jobs']


def test_a_subscription_is_shown_with_its_seven_keys(api: Api) -> None:
    path = _make(api, ttl=600, options={'post_data': 'x', 'free': [1]})
    api.clock.move(12.7)
    answer = api('GET', path)
    expected = {
        'id': path.split('/')[-1],
        'source': 'jobs',
        'subscriber': HOOK,
        'ttl': 600,
        'age': 12,
        'options': {'post_data': 'x', 'free': [1]},
        'confirmed': False,
    }
    assert (answer.status, answer.json) == (200, expected)
    assert api('GET', ALL).json['subscriptions'] == [expected]


@pytest.mark.parametrize(
    'fields', [{}, {'ttl': None}, {'options': None}, {'more': 1}]
)
def test_absent_and_null_fields_have_defaults(
    api: Api, fields: dict[str, Any]
) -> None:
    subscription = api('GET', _make(api, **fields)).json
    assert (subscription['ttl'], subscription['options']) == (3600, {})


def test_an_operator_gives_the_default_life(make_api: MakeApi) -> None:
    api = make_api('[transport]\ndefault_subscription_ttl = 99')
    assert api('GET', _make(api)).json['ttl'] == 99


@pytest.mark.parametrize('options', [None, '', [], {}])
def test_what_stands_for_no_options_is_an_empty_object(
    api: Api, options: Any
) -> None:
    assert api('GET', _make(api, options=options)).json['options'] == {}


@pytest.mark.parametrize(
    'subscriber',
    [
        'http://a',
        'HTTPS://a.b:8080/path?q=1',
        'http://[::1]:80/',
        'mailto:ops@example.org',
        'mailto:ops@example.org?subject=x',
    ],
)
def test_schemes_that_are_served(api: Api, subscriber: str) -> None:
    path = _make(api, subscriber=subscriber)
    assert api('GET', path).json['subscriber'] == subscriber


@pytest.mark.parametrize(
    'options',
    [
        {'subject': 'x\ry'},
        {'subject': 5},
        {'from': 'a@b.org, c@d.org'},
        {'from': ['a@b.org']},
        {'from': 'me@a.org\nBcc: c@d.org'},
    ],
)
def test_options_that_make_no_mail_are_refused_with_mail_alone(
    api: Api, options: dict[str, Any]
) -> None:
    mail = 'mailto:ops@example.org'
    text = 'The subscriber cannot be sent mails: '
    refused = _post(api, subscriber=mail, options=options)
    assert refused.is_error(400, 'Invalid API request', text)
    hook = _make(api, options=options)
    for path, change in (
        (hook, {'subscriber': mail}),
        (_make(api, subscriber=mail), {'options': options}),
    ):
        before = api('GET', path).json
        changed = api('PATCH', path, change)
        assert changed.is_error(400, 'Invalid API request', text)
        assert api('GET', path).json == before


@pytest.mark.parametrize('scheme', ['trust+http', 'trust+https'])
def test_who_shows_no_token_can_have_nobody_told_with_one(
    api: Api, scheme: str
) -> None:
    body = {'subscriber': f'{scheme}://a.b/c'}
    answer = api('POST', '/v2/queues/q/subscriptions', body)
    assert answer.status == 400
    assert 'token' in answer.json['description']
    assert api('GET', '/v2/queues').json['queues'] == []


TYPES = (
    'The subscriber type of subscription must be supported in the list '
    "['http', 'https', 'mailto', 'trust+http', 'trust+https']."
)


@pytest.mark.proves('reserved headers')
@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'subscriber': 'ftp://a.b'}, TYPES),
        ({'subscriber': 'ws://a.b'}, TYPES),
        ({'subscriber': 'no uri'}, TYPES),
        ({'subscriber': ''}, ''),
        ({'subscriber': None}, ''),
        ({'subscriber': 7}, ''),
        ({'subscriber': [HOOK]}, ''),
        ({'subscriber': 'http:'}, ''),
        ({'subscriber': 'http://'}, ''),
        ({'subscriber': 'http:///path'}, ''),
        ({'subscriber': 'http://a b'}, ''),
        ({'subscriber': 'http://a\r\nb'}, ''),
        ({'subscriber': 'http://a:x'}, ''),
        ({'subscriber': 'mailto:'}, ''),
        ({'subscriber': 'mailto:ops'}, ''),
        ({'subscriber': 'mailto:a@b.org,c@d.org'}, 'mails: '),
        ({'subscriber': 'mailto:a@b.org%3Bc@d.org'}, 'mails: '),
        ({'subscriber': 'mailto:a@b.org%20c@d.org'}, 'mails: '),
        ({'subscriber': 'mailto:a@b.org?subject=x%0Ay'}, 'control'),
        ({'subscriber': 'mailto:a@b.org?subject=x%E2%80%A8y'}, 'control'),
        ({'ttl': '60'}, 'TTL must be an integer.'),
        ({'ttl': 60.0}, 'TTL must be an integer.'),
        ({'ttl': True}, 'TTL must be an integer.'),
        (
            {'ttl': 59},
            'The TTL for a subscription must be at least 60 seconds long.',
        ),
        ({'ttl': 0}, 'must be at least 60 seconds long.'),
        ({'ttl': -1}, 'must be at least 60 seconds long.'),
        (
            {'ttl': 253_402_300_800},
            'The TTL seconds for a subscription plus current time must be '
            'less than',
        ),
        ({'ttl': 2**63 - 1}, 'The TTL seconds for a subscription'),
        ({'options': 'x'}, 'Options must be a dict.'),
        ({'options': [1]}, 'Options must be a dict.'),
        ({'options': 1}, 'Options must be a dict.'),
        ({'options': {'trust_id': 'x'}}, 'trust_id'),
        ({'options': {'post_data': 1}}, 'post_data'),
        ({'options': {'post_headers': []}}, 'post_headers'),
        ({'options': {'post_headers': {'a': 1}}}, 'post_headers'),
        ({'options': {'post_headers': {'a': 'b\r\nc'}}}, 'post_headers'),
        *(
            ({'options': {'post_headers': {'A': value}}}, 'Latin-1')
            for value in (
                *('\u2713', 'a\u0142', '\U0001f600', 'a\x00', 'a\x1b[0m'),
                *('\x7f', 'a\nb', '\x85', '\x9f', 1, None, []),
            )
        ),
        *(
            ({'options': {'post_headers': {name: 'x'}}}, 'name')
            for name in ('', 'a b', 'a:', 'ä', 'a\x00', '(a)', 'a\tb', '"a"')
        ),
        ({'options': {'post_headers': {'Host': 'x'}}}, 'Host'),
        ({'options': {'post_headers': {'x-auth-token': 'x'}}}, 'x-auth'),
        *(
            ({'options': {'_signing_secret': secret}}, '_signing_secret')
            for secret in (
                *('plain text', 'whsec_', 'whsec_!', 'whsec_YWI', 'YWI'),
                *('YWJ=', 'a-_b', 'YWJj\n', ' YWJj', '\u00e4', '', 5, []),
            )
        ),
        (
            {'options': {'_retry_policy': 'x'}},
            'retry_policy must be a dict.',
        ),
        (
            {'options': {'_retry_policy': {'minimum_delay': 'x'}}},
            'Retry policy: minimum_delay must be a integer.',
        ),
    ],
)
def test_a_faulty_subscription_is_refused_and_makes_nothing(
    api: Api, fields: dict[str, Any], text: str
) -> None:
    assert _post(api, **fields).is_error(400, 'Invalid API request', text)
    assert api('GET', '/v2/queues').json['queues'] == []
    path = _make(api)
    before = api('GET', path).json
    if None not in fields.values():
        changed = api('PATCH', path, fields)
        assert changed.is_error(400, 'Invalid API request', text)
    assert api('GET', path).json == before


@pytest.mark.proves('reserved headers')
@pytest.mark.parametrize(
    'name',
    [
        *('Host', 'host', 'HOST', ' Host', 'Host ', 'Content-Length'),
        *('Transfer-Encoding', 'Connection', 'X-Auth-Token', 'x-auth-token'),
        *('webhook-signature', 'Webhook-Signature', 'WEBHOOK-SIGNATURE '),
        *('Webhook-Id', 'Webhook-Timestamp', 'X-Zaqar-Attempt', 'x-zaqar-a'),
        *('A\r\nHost', 'A\nB', 'A\r'),
        *('Keep-Alive', 'TE', 'Trailer', 'Upgrade', 'Proxy-Connection'),
        *('Proxy-Authorization', 'Proxy-Authenticate', 'Expect'),
    ],
)
def test_headers_that_are_ours_cannot_be_set(api: Api, name: str) -> None:
    options = {'post_headers': {name: 'x'}}
    document = {'subscriber': 'http://a.b', 'options': options}
    answer = api('POST', f'{QUEUE}/subscriptions', document)
    assert answer.status == 400
    fine = {**document, 'options': {'post_headers': {'A': 'x'}}}
    done = api('POST', f'{QUEUE}/subscriptions', fine).json
    path = f'{QUEUE}/subscriptions/{done["subscription_id"]}'
    assert api('PATCH', path, {'options': options}).status == 400
    assert api('GET', path).json['options'] == fine['options']


def _recorded(api: Api, path: str) -> Any:
    subscription = subscription_records.find(
        api.service.catalogue.management,
        Scope(api.project, path.split('/')[3]),
        path.rpartition('/')[2],
        api.clock.now(),
    )
    assert subscription is not None
    return subscription.options


def test_a_secret_is_shown_to_nobody_and_stays_until_it_is_replaced(
    api: Api,
) -> None:
    options = {'a': 1, '_signing_secret': 'whsec_YWJj'}
    path = _make(api, options=options)
    assert _recorded(api, path) == options
    for change, recorded in (
        ({'options': {'a': 2}}, {'a': 2, '_signing_secret': 'whsec_YWJj'}),
        ({'ttl': 600}, {'a': 2, '_signing_secret': 'whsec_YWJj'}),
        (
            {'options': {'_signing_secret': 'ZGVm'}},
            {'_signing_secret': 'ZGVm'},
        ),
        ({'options': {'a': 3, '_signing_secret': None}}, {'a': 3}),
    ):
        shown = [api('GET', path).body]
        changed = api('PATCH', path, change)
        assert changed.status == 204
        shown += [changed.body, api('GET', path).body]
        shown += [api('GET', path.rpartition('/')[0]).body]
        assert not any(b'YWJj' in body or b'ZGVm' in body for body in shown)
        assert not any(b'_signing_secret' in body for body in shown)
        assert _recorded(api, path) == recorded


@pytest.mark.proves('option size')
def test_options_have_the_size_of_metadata_at_most(make_api: MakeApi) -> None:
    api = make_api('[transport]\nmax_queue_metadata = 300')
    for size, status in ((100, 201), (400, 400)):
        document = {'subscriber': 'http://a.b', 'options': {'a': 'x' * size}}
        answer = api('POST', f'{QUEUE}/subscriptions', document)
        assert answer.status == status


@pytest.mark.parametrize('arguments', [(), ({},), ({'ttl': 60},)])
def test_a_subscriber_is_needed(api: Api, arguments: Any) -> None:
    answer = api('POST', ALL, *arguments)
    assert answer.is_error(
        400, 'Invalid API request', 'Missing parameter subscriber in body.'
    )


@pytest.mark.parametrize('document', [[], [{'subscriber': HOOK}]])
def test_an_array_is_no_subscription(api: Api, document: Any) -> None:
    assert api('POST', ALL, document).status == 400


def test_a_life_may_last_for_seven_thousand_years(api: Api) -> None:
    # What Heat asks for.
    path = _make(api, ttl=220_367_260_800)
    assert api('GET', path).json['ttl'] == 220_367_260_800


def test_an_operator_chooses_schemes(make_api: MakeApi) -> None:
    api = make_api('[transport]\nsubscriber_types = HTTPS')
    assert _post(api).status == 201
    answer = _post(api, subscriber='http://a.b')
    assert answer.is_error(400, 'Invalid API request', "the list ['https']")


# The same again.


def test_the_same_subscriber_again_gets_the_same_id(api: Api) -> None:
    first = _make(api, ttl=600, options={'a': 1})
    assert _make(api, ttl=60, options={}) == first
    subscription = api('GET', first).json
    assert (subscription['ttl'], subscription['options']) == (600, {'a': 1})
    assert len(_list(api)) == 1


def test_a_confirmed_subscriber_again_is_a_conflict(api: Api) -> None:
    path = _make(api)
    api('PUT', f'{path}/confirm', {'confirmed': True})
    answer = _post(api)
    assert answer.is_error(
        409, 'Resource conflict', 'Such subscription already exists.'
    )
    assert answer.headers['location'] == ALL


def test_an_expired_subscriber_again_is_a_new_one(api: Api) -> None:
    first = _make(api, ttl=60)
    api.clock.move(60)
    second = _make(api)
    assert second != first
    assert api('GET', first).status == 404
    assert len(_list(api)) == 1


def test_a_deleted_subscriber_again_is_a_new_one(api: Api) -> None:
    first = _make(api)
    api('DELETE', first)
    assert _make(api) != first


def test_one_subscriber_may_have_several_queues_and_projects(
    api: Api,
) -> None:
    path = _make(api)
    other = api('POST', '/v2/queues/b/subscriptions', {'subscriber': HOOK})
    assert other.json['subscription_id'] != path.split('/')[-1]
    stranger = api.as_project('b')
    assert _list(stranger) == []
    assert _make(stranger) != path


def test_clients_that_subscribe_at_once_get_one_subscription(
    api: Api,
) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(_make, api) for _ in range(40)]
    assert len({job.result() for job in jobs}) == 1
    assert len(_list(api)) == 1


def test_a_maker_that_died_half_way_is_completed(api: Api) -> None:
    path = _make(api)
    # The record of the subscriber is there, that of the subscription not.
    management = api.service.catalogue.management
    parent = f'queue/jobs/{api.project}'
    management.delete('subscription', parent, path.split('/')[-1])
    assert _list(api) == []
    assert _make(api) == path
    assert _list(api) == [HOOK]


def test_a_conflict_marks_the_queue_of_a_maker_that_died(api: Api) -> None:
    path = _make(api)
    api('PUT', f'{path}/confirm', {'confirmed': True})
    queue = api.service.catalogue.find(Scope(api.project, 'jobs'))
    assert queue is not None
    store, now = api.service.catalogue.messages, api.clock.now()
    epoch = store.subscribed_epoch(queue.qid, now=now)
    store.unmark_subscribed(queue.qid, epoch, now=now)
    assert _post(api).status == 409
    assert store.subscribed_epoch(queue.qid, now=now) > epoch


# Listing.


def test_subscriptions_are_listed_in_the_order_of_creation(
    api: Api,
) -> None:
    names = [f'http://{name}' for name in 'cab']
    for name in names:
        _make(api, subscriber=name)
        api.clock.move(0.001)
    assert _list(api) == names


def test_pages_link_on_until_one_is_empty(api: Api) -> None:
    for number in range(12):
        _make(api, subscriber=f'http://h{number:02}')
        api.clock.move(0.001)
    page = api('GET', ALL).json
    assert len(page['subscriptions']) == 10
    seen = []
    path = f'{ALL}?limit=5&detailed=true'
    while True:
        page = api('GET', path).json
        assert bool(page['links']) is bool(page['subscriptions'])
        if not page['links']:
            break
        seen += [one['subscriber'] for one in page['subscriptions']]
        path = page['links'][0]['href']
        assert path.startswith(f'{ALL}?limit=5&marker=')
    assert seen == [f'http://h{number:02}' for number in range(12)]


def test_a_missing_queue_has_none(api: Api) -> None:
    answer = api('GET', ALL)
    assert (answer.status, answer.json) == (
        200,
        {'subscriptions': [], 'links': []},
    )


@pytest.mark.parametrize('marker', ['x', 'f' * 32, '%00', '%C3%A9'])
def test_an_unknown_marker_gives_an_empty_page(api: Api, marker: str) -> None:
    _make(api)
    answer = api('GET', f'{ALL}?marker={marker}')
    assert answer.json == {'subscriptions': [], 'links': []}


@pytest.mark.parametrize('limit', ['0', '-1', '21'])
def test_a_limit_out_of_range_is_refused(api: Api, limit: str) -> None:
    answer = api('GET', f'{ALL}?limit={limit}')
    assert answer.is_error(
        400,
        'Invalid API request',
        'Limit must be at least 1 and may not be greater than 20.',
    )


def test_a_subscription_ends_at_the_second(api: Api) -> None:
    path = _make(api, ttl=60)
    api.clock.move(59.999)
    assert api('GET', path).status == 200
    api.clock.move(0.001)
    assert api('GET', path).status == 404
    assert api('PATCH', path, {'ttl': 60}).status == 404
    confirmed = {'confirmed': True}
    assert api('PUT', f'{path}/confirm', confirmed).status == 404
    assert _list(api) == []


def test_expired_ones_do_not_shorten_a_page(api: Api) -> None:
    for number in range(150):
        _make(api, subscriber=f'http://dead{number}', ttl=60)
    api.clock.move(60)
    _make(api)
    assert _list(api, '?limit=1') == [HOOK]


def test_a_list_of_a_process_whose_clock_errs_removes_none_that_lives(
    api: Api,
) -> None:
    _make(api, ttl=3600)
    api.clock.ahead = 7_200_000
    assert _list(api) == []
    api.clock.ahead = 0
    assert _list(api) == [HOOK]


def test_a_list_removes_a_bounded_number_of_expired_ones(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_records, 'BATCH', 10)
    monkeypatch.setattr(subscription_records, 'MAX_SCANNED', 20)
    for number in range(50):
        _make(api, subscriber=f'http://dead{number}', ttl=60)
    api.clock.move(60)
    _make(api)
    removed = []
    remove = subscription_records.remove

    def counted(*names: Any) -> Any:
        removed[-1] += 1
        return remove(*names)

    monkeypatch.setattr(subscription_records, 'remove', counted)
    href, subscribers = f'{ALL}?limit=5', []
    while href:
        removed.append(0)
        page = api('GET', href).json
        subscribers += [item['subscriber'] for item in page['subscriptions']]
        href = page['links'][0]['href'] if page['links'] else ''
    assert subscribers == [HOOK]
    assert removed == [20, 20, 10, 0]


# One of them.


@pytest.mark.parametrize('bad', ['x', 'f' * 32, '%00', '%C3%A9'])
def test_one_that_is_not_there(api: Api, bad: str) -> None:
    path = f'{ALL}/{bad}'
    answers = [
        api('GET', path),
        api('PATCH', path, {'ttl': 60}),
        api('PUT', f'{path}/confirm', {'confirmed': True}),
    ]
    for answer in answers:
        assert answer.is_error(404, 'Not found')
    if bad == 'x':
        assert answers[0].description == 'Subscription x does not exist'
    assert api('DELETE', path).status == 204


@pytest.mark.proves('ids are scoped')
def test_one_belongs_to_its_queue_and_project(api: Api) -> None:
    path = _make(api)
    item = path.split('/')[-1]
    elsewhere = f'/v2/queues/other/subscriptions/{item}'
    for who, where in ((api, elsewhere), (api.as_project('b'), path)):
        assert who('GET', where).status == 404
        assert who('PATCH', where, {'ttl': 60}).status == 404
        confirmed = {'confirmed': True}
        assert who('PUT', f'{where}/confirm', confirmed).status == 404
        assert who('DELETE', where).status == 204
    assert api('GET', path).json['confirmed'] is False


def test_an_update_changes_what_it_names(api: Api) -> None:
    path = _make(api, ttl=600, options={'a': 1})
    api.clock.move(100)
    answer = api('PATCH', path, {'ttl': 120, 'options': None, 'more': 1})
    assert (answer.status, answer.body) == (204, b'')
    assert answer.headers['location'] == path
    subscription = api('GET', path).json
    assert (
        subscription['ttl'],
        subscription['options'],
        subscription['age'],
    ) == (
        120,
        {'a': 1},
        100,
    )
    # The life begins anew.
    api.clock.move(119)
    assert api('GET', path).status == 200
    assert api('PATCH', path, {'options': {}}).status == 204
    assert api('GET', path).json['options'] == {}
    api.clock.move(1)
    assert api('GET', path).status == 404


@pytest.mark.parametrize('arguments', [(), ({},), ([],)])
def test_an_update_needs_something(api: Api, arguments: Any) -> None:
    answer = api('PATCH', _make(api), *arguments)
    assert answer.is_error(
        400, 'Invalid API request', 'No subscription to create.'
    )


def test_an_update_is_an_object(api: Api) -> None:
    answer = api('PATCH', _make(api), [1])
    assert answer.is_error(
        400, 'Invalid API request', 'Subscriptions must be a dict.'
    )


@pytest.mark.parametrize(
    'document', [{'other': 1}, {'ttl': None, 'options': None}]
)
def test_an_update_of_nothing_known_is_refused(
    api: Api, document: Any
) -> None:
    answer = api('PATCH', _make(api), document)
    assert answer.is_error(400, 'Unable to update subscription')


def test_a_new_subscriber_has_to_confirm_anew(api: Api) -> None:
    path = _make(api)
    api('PUT', f'{path}/confirm', {'confirmed': True})
    assert api('PATCH', path, {'subscriber': 'http://new'}).status == 204
    subscription = api('GET', path).json
    assert (subscription['subscriber'], subscription['confirmed']) == (
        'http://new',
        False,
    )
    # The old one is free again, and the new one is taken.
    assert _make(api) != path
    assert _make(api, subscriber='http://new') == path


def test_a_subscriber_that_is_taken_is_a_conflict(api: Api) -> None:
    _make(api, subscriber='http://taken')
    path = _make(api)
    answer = api('PATCH', path, {'subscriber': 'http://taken'})
    assert answer.is_error(409, 'Resource conflict')
    assert api('GET', path).json['subscriber'] == HOOK
    same = {'subscriber': HOOK, 'ttl': 60, 'options': {}}
    assert api('PATCH', path, same).status == 204


def test_a_subscriber_that_has_expired_is_not_taken(api: Api) -> None:
    _make(api, subscriber='http://gone', ttl=60)
    path = _make(api)
    api.clock.move(60)
    assert api('PATCH', path, {'subscriber': 'http://gone'}).status == 204
    assert _list(api) == ['http://gone']
    assert _make(api, subscriber='http://gone') == path


def _between(
    api: Api, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]
) -> None:
    """Have something happen right before a change is stored."""
    management = api.service.catalogue.management
    store = management.replace

    def stored(kind: str, *place: Any, **more: Any) -> bool:
        if kind == 'subscription':
            monkeypatch.setattr(management, 'replace', store)
            act()
        return store(kind, *place, **more)

    monkeypatch.setattr(management, 'replace', stored)


def test_the_same_change_twice_at_once_keeps_the_subscriber_taken(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _make(api)
    new = {'subscriber': 'http://new'}
    _between(api, monkeypatch, lambda: api('PATCH', path, new))
    assert api('PATCH', path, new).status == 204
    assert _make(api, **new) == path
    assert _list(api) == ['http://new']


def test_a_subscription_that_ends_while_it_is_changed_keeps_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _make(api)
    new = {'subscriber': 'http://new'}
    _between(api, monkeypatch, lambda: api('DELETE', path))
    assert api('PATCH', path, new).status == 404
    api.clock.move(60)
    assert api('PATCH', _make(api), new).status == 204
    assert _list(api) == ['http://new']


def test_a_change_that_died_half_way_is_no_subscription(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise StoreUnavailable

    path = _make(api)
    other = _make(api, subscriber='http://other')
    new = {'subscriber': 'http://new'}
    _between(api, monkeypatch, die)
    assert api('PATCH', path, new).status == 503
    # It may be under way still.
    assert _post(api, **new).status == 503
    assert api('PATCH', other, new).status == 409
    api.clock.move(60)
    fresh = _make(api, **new)
    assert fresh not in (path, other)
    assert _make(api, **new) == fresh
    assert sorted(_list(api)) == [
        *sorted(['http://new', 'http://other']),
        HOOK,
    ]


def test_confirming_and_withdrawing(api: Api) -> None:
    path = _make(api)
    for wanted in (True, True, False, False, True):
        answer = api('PUT', f'{path}/confirm', {'confirmed': wanted})
        assert (answer.status, answer.body) == (204, b'')
        assert answer.headers['location'] == f'{path}/confirm'
        assert api('GET', path).json['confirmed'] is wanted
    assert api('POST', f'{path}/confirm', {}).status == 405


@pytest.mark.parametrize(
    'arguments',
    [(), ({},), ({'confirmed': 1},), ({'confirmed': None},)],
)
def test_a_confirmation_is_a_boolean(api: Api, arguments: Any) -> None:
    answer = api('PUT', f'{_make(api)}/confirm', *arguments)
    assert answer.is_error(
        400, 'Invalid API request', "The 'confirmed' should be boolean."
    )


def test_other_confirmations_are_refused(api: Api) -> None:
    path = f'{_make(api)}/confirm'
    answer = api('PUT', path, [])
    assert answer.is_error(400, 'Unable to confirm subscription')
    answer = api('PUT', path, raw=b'{')
    assert answer.is_error(
        400, 'Invalid request body', 'Request body could not be parsed.'
    )


# What outlives what.


def test_subscriptions_outlive_their_queue(api: Api) -> None:
    path = _make(api)
    api('DELETE', QUEUE)
    assert api('GET', path).status == 200
    api.post('jobs', 1)
    assert _list(api) == [HOOK]


@pytest.mark.parametrize(
    ('types', 'left'),
    [
        (['subscriptions'], (0, 1)),
        (['messages'], (25, 0)),
        (['messages', 'subscriptions'], (0, 0)),
        ([], (25, 1)),
    ],
)
def test_a_purge_takes_all_of_what_it_names(
    api: Api, types: list[str], left: tuple[int, int]
) -> None:
    api.post('jobs', 1)
    for number in range(25):
        _make(api, subscriber=f'http://h{number}')
    document = {'resource_types': types}
    assert api('POST', f'{QUEUE}/purge', document).status == 204
    count = len(_list(api, '?limit=20'))
    assert (min(count, 20), len(api.bodies('jobs'))) == (
        min(left[0], 20),
        left[1],
    )
    if not left[0]:
        # Nothing keeps them from subscribing again.
        _make(api, subscriber='http://h1')


def test_a_purge_without_a_body_takes_subscriptions_too(api: Api) -> None:
    _make(api)
    api('POST', f'{QUEUE}/purge')
    assert _list(api) == []
