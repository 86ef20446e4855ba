# SPDX-License-Identifier: Apache-2.0
"""Creation of subscriptions: reference/http, "Subscriptions"."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import pytest

from zaqar.controllers import subscription_records
from zaqar.objects import Scope
from zaqar.tests.functional.http import subscription_calls
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi
from zaqar.tests.functional.http.subscription_calls import ALL, HOOK, QUEUE

# Creation.


def test_subscribing_answers_with_an_id_and_makes_the_queue(
    api: Api,
) -> None:
    answer = subscription_calls.post(api)
    assert answer.status == 201
    assert set(answer.json) == {'subscription_id'}
    assert answer.headers['location'] == ALL
    queues = api('GET', '/v2/queues').json['queues']
    assert [queue['name'] for queue in queues] == ['jobs']


def test_a_subscription_is_shown_with_its_seven_keys(api: Api) -> None:
    path = subscription_calls.make(
        api, ttl=600, options={'post_data': 'x', 'free': [1]}
    )
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
    subscription = api('GET', subscription_calls.make(api, **fields)).json
    assert (subscription['ttl'], subscription['options']) == (3600, {})


def test_an_operator_gives_the_default_life(make_api: MakeApi) -> None:
    api = make_api('[transport]\ndefault_subscription_ttl = 99')
    assert api('GET', subscription_calls.make(api)).json['ttl'] == 99


@pytest.mark.parametrize('options', [None, '', [], {}])
def test_what_stands_for_no_options_is_an_empty_object(
    api: Api, options: Any
) -> None:
    assert (
        api('GET', subscription_calls.make(api, options=options)).json[
            'options'
        ]
        == {}
    )


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
    path = subscription_calls.make(api, subscriber=subscriber)
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
    refused = subscription_calls.post(api, subscriber=mail, options=options)
    assert refused.is_error(400, 'Invalid API request', text)
    hook = subscription_calls.make(api, options=options)
    for path, change in (
        (hook, {'subscriber': mail}),
        (subscription_calls.make(api, subscriber=mail), {'options': options}),
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
    assert subscription_calls.post(api, **fields).is_error(
        400, 'Invalid API request', text
    )
    assert api('GET', '/v2/queues').json['queues'] == []
    path = subscription_calls.make(api)
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
    path = subscription_calls.make(api, options=options)
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
    path = subscription_calls.make(api, ttl=220_367_260_800)
    assert api('GET', path).json['ttl'] == 220_367_260_800


def test_an_operator_chooses_schemes(make_api: MakeApi) -> None:
    api = make_api('[transport]\nsubscriber_types = HTTPS')
    assert subscription_calls.post(api).status == 201
    answer = subscription_calls.post(api, subscriber='http://a.b')
    assert answer.is_error(400, 'Invalid API request', "the list ['https']")


# The same again.


def test_the_same_subscriber_again_gets_the_same_id(api: Api) -> None:
    first = subscription_calls.make(api, ttl=600, options={'a': 1})
    assert subscription_calls.make(api, ttl=60, options={}) == first
    subscription = api('GET', first).json
    assert (subscription['ttl'], subscription['options']) == (600, {'a': 1})
    assert len(subscription_calls.listed(api)) == 1


def test_a_confirmed_subscriber_again_is_a_conflict(api: Api) -> None:
    path = subscription_calls.make(api)
    api('PUT', f'{path}/confirm', {'confirmed': True})
    answer = subscription_calls.post(api)
    assert answer.is_error(
        409, 'Resource conflict', 'Such subscription already exists.'
    )
    assert answer.headers['location'] == ALL


def test_an_expired_subscriber_again_is_a_new_one(api: Api) -> None:
    first = subscription_calls.make(api, ttl=60)
    api.clock.move(60)
    second = subscription_calls.make(api)
    assert second != first
    assert api('GET', first).status == 404
    assert len(subscription_calls.listed(api)) == 1


def test_a_deleted_subscriber_again_is_a_new_one(api: Api) -> None:
    first = subscription_calls.make(api)
    api('DELETE', first)
    assert subscription_calls.make(api) != first


def test_one_subscriber_may_have_several_queues_and_projects(
    api: Api,
) -> None:
    path = subscription_calls.make(api)
    other = api('POST', '/v2/queues/b/subscriptions', {'subscriber': HOOK})
    assert other.json['subscription_id'] != path.split('/')[-1]
    stranger = api.as_project('b')
    assert subscription_calls.listed(stranger) == []
    assert subscription_calls.make(stranger) != path


def test_clients_that_subscribe_at_once_get_one_subscription(
    api: Api,
) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(subscription_calls.make, api) for _ in range(40)]
    assert len({job.result() for job in jobs}) == 1
    assert len(subscription_calls.listed(api)) == 1


def test_a_maker_that_died_half_way_is_completed(api: Api) -> None:
    path = subscription_calls.make(api)
    # The record of the subscriber is there, that of the subscription not.
    management = api.service.catalogue.management
    parent = f'queue/jobs/{api.project}'
    management.delete('subscription', parent, path.split('/')[-1])
    assert subscription_calls.listed(api) == []
    assert subscription_calls.make(api) == path
    assert subscription_calls.listed(api) == [HOOK]


def test_a_conflict_marks_the_queue_of_a_maker_that_died(api: Api) -> None:
    path = subscription_calls.make(api)
    api('PUT', f'{path}/confirm', {'confirmed': True})
    queue = api.service.catalogue.find(Scope(api.project, 'jobs'))
    assert queue is not None
    store, now = api.service.catalogue.messages, api.clock.now()
    epoch = store.subscribed_epoch(queue.qid, now=now)
    store.unmark_subscribed(queue.qid, epoch, now=now)
    assert subscription_calls.post(api).status == 409
    assert store.subscribed_epoch(queue.qid, now=now) > epoch
