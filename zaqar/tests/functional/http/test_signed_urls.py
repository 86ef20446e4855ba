# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs: reference/http, "Pre-signed access"."""

from __future__ import annotations

import datetime
import pathlib
import re
from typing import Any

import pytest

from zaqar.api import operation_table
from zaqar.api.microversion_negotiation import HEADER
from zaqar.controllers.url_signatures import Grant, Signer
from zaqar.errors import ConfigurationError
from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.http.client import (
    ABSENT,
    PATCH,
    PROJECT,
    Api,
    Response,
)
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi

pytestmark = pytest.mark.sqlite

KEY = 'a key of some length'
LONG = f'[signed_url]\nsecret_key = {KEY}\nmax_lifetime = 300000000000'
SHARE = '/v2/queues/jobs/share'
MESSAGES = '/v2/queues/jobs/messages'


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api(LONG)


def _headers(shared: dict[str, Any], **changes: str | None) -> Any:
    return {
        'URL-Signature': shared['signature'],
        'URL-Expires': shared['expires'],
        'URL-Methods': ','.join(shared['methods']),
        'URL-Paths': ','.join(shared['paths']),
        'X-Project-ID': shared['project'],
        **{name.replace('_', '-'): value for name, value in changes.items()},
    }


def _grant(api: Api, **document: Any) -> dict[str, Any]:
    answer = api('POST', SHARE, document)
    assert answer.status == 200, answer
    return dict(answer.json)


def _is_refused(answer: Response) -> bool:
    assert answer.is_error(404, '404 Not Found')
    assert answer.json == {'title': '404 Not Found'}
    return True


# Making one.


def test_the_signature_is_the_one_that_deployments_have() -> None:
    grant = Grant([MESSAGES], ['GET'], 'p', '2030-01-01T00:00:00')
    assert Signer('key').sign(grant) == (
        '032da1e3ec836fe1ab4ba4c2dcac6f5183ba9f8f0f5e68ac0c13ea5620857568'
    )


def test_nothing_asked_for_is_reading_messages_for_a_day(api: Api) -> None:
    before = datetime.datetime.now(datetime.UTC)
    grant = _grant(api)
    assert grant['paths'] == [MESSAGES]
    assert grant['methods'] == ['GET']
    assert grant['project'] == PROJECT
    assert re.fullmatch(r'[0-9a-f]{64}', grant['signature'])
    end = datetime.datetime.fromisoformat(f'{grant["expires"]}+00:00')
    assert abs((end - before).total_seconds() - 86400) < 60
    assert len(api('GET', '/v2/queues').json['queues']) == 0


@pytest.mark.parametrize('nothing', [None, [], '', {}])
def test_whatever_is_empty_means_the_defaults(api: Api, nothing: Any) -> None:
    document = {'paths': nothing, 'methods': nothing, 'expires': None}
    api('PUT', '/v2/queues/jobs')
    for version in ({}, NEW):
        grant = api('POST', SHARE, document, headers=version).json
        assert (grant['paths'], grant['methods']) == ([MESSAGES], ['GET'])


def test_lists_are_sorted_and_kept(api: Api) -> None:
    grant = _grant(
        api,
        paths=['subscriptions', 'messages', 'claims'],
        methods=['post', 'GET', 'POST', 'GET'],
    )
    queue = '/v2/queues/jobs'
    assert grant['paths'] == [
        f'{queue}/claims',
        f'{queue}/messages',
        f'{queue}/subscriptions',
    ]
    assert grant['methods'] == ['GET', 'GET', 'POST', 'post']


@pytest.mark.parametrize(
    ('sent', 'shown'),
    [
        ('2100-01-01T12:00:00', '2100-01-01T12:00:00'),
        ('2100-01-01 12:00:00', '2100-01-01T12:00:00'),
        ('2100-01-01', '2100-01-01T00:00:00'),
        ('2100-01-01T12:00:00.123456', '2100-01-01T12:00:00'),
        ('2100-01-01T12:00:00Z', '2100-01-01T12:00:00'),
        ('2100-01-01T12:00:00+02:00', '2100-01-01T10:00:00'),
        ('2100-01-01T12:00:00-02', '2100-01-01T14:00:00'),
    ],
)
def test_an_end_may_be_written_in_many_ways(
    api: Api, sent: str, shown: str
) -> None:
    assert _grant(api, expires=sent)['expires'] == shown


DATE = '`expires` should be date format, for example 2016-01-01T00:00:00'


@pytest.mark.parametrize(
    ('document', 'title', 'text'),
    [
        ([], 'Invalid request body', ''),
        ({'project_id': 'x'}, 'Invalid API request', 'Unknown keys: '),
        ({'paths': ['stats']}, 'Invalid API request', 'Invalid paths: '),
        ({'paths': 'messages'}, 'Invalid API request', '`paths`'),
        ({'paths': [['messages']]}, 'Invalid API request', 'Invalid paths'),
        (
            {'methods': 'GET'},
            'Invalid API request',
            '`methods` should be a list',
        ),
        ({'methods': [1]}, 'Invalid API request', '`methods`'),
        ({'methods': 0}, 'Invalid API request', '`methods` should be a list'),
        ({'methods': False}, 'Invalid API request', '`methods`'),
        ({'paths': 0}, 'Invalid API request', '`paths` should be a list'),
        ({'paths': False}, 'Invalid API request', '`paths`'),
        ({'methods': ['GET\n']}, 'Invalid API request', 'line feed'),
        ({'methods': ['GET', 'A\rB']}, 'Invalid API request', 'line feed'),
        ({'methods': ['GET\\nb']}, 'Invalid API request', 'line feed'),
        (
            {'expires': 3600},
            'Invalid API request',
            f'{DATE}, not integer value: 3600',
        ),
        ({'expires': '20300101'}, 'Invalid API request', DATE),
        ({'expires': 'tomorrow'}, 'Invalid API request', ''),
        ({'expires': ''}, 'Invalid API request', ''),
        ({'expires': '2100-13-01'}, 'Invalid API request', ''),
        ({'expires': '9999-12-31T23:59:59-05'}, 'Invalid API request', ''),
        ({'expires': []}, 'Invalid API request', ''),
        ({'expires': {}}, 'Invalid API request', ''),
        ({'expires': True}, 'Invalid API request', ''),
        ({'expires': 1.5}, 'Invalid API request', ''),
        (
            {'expires': '2016-01-01T00:00:00'},
            'Invalid API request',
            '`expires` is lower than the current time',
        ),
    ],
)
def test_a_faulty_wish_is_refused(
    api: Api, document: Any, title: str, text: str
) -> None:
    assert api('POST', SHARE, document).is_error(400, title, text)


def test_a_body_is_needed(api: Api) -> None:
    assert api('POST', SHARE).is_error(400, 'Invalid request body')


def test_without_a_key_nothing_can_be_signed(make_api: MakeApi) -> None:
    answer = make_api()('POST', SHARE, {})
    assert answer.is_error(
        400, 'Invalid API request', "The `key` can't be None"
    )


@pytest.mark.proves('signing key length')
def test_a_short_key_stops_the_start(make_api: MakeApi) -> None:
    with pytest.raises(ConfigurationError, match='secret_key is too short'):
        make_api('[signed_url]\nsecret_key = fifteen bytes..')


def _in(seconds: float) -> str:
    end = datetime.datetime.now(datetime.UTC)
    return (end + datetime.timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize('most', [2_592_000, 3600])
def test_a_url_may_last_for_so_long(make_api: MakeApi, most: int) -> None:
    own = f'max_lifetime = {most}\n' if most == 3600 else ''
    api = make_api(f'[signed_url]\nsecret_key = {KEY}\n{own}')
    assert _grant(api, expires=_in(most - 5))
    refused = api('POST', SHARE, {'expires': _in(most + 5)})
    text = f'`expires` may be at most {most} seconds from'
    assert refused.is_error(400, 'Invalid API request', text)
    end = datetime.datetime.fromisoformat(f'{_grant(api)["expires"]}+00:00')
    left = end - datetime.datetime.now(datetime.UTC)
    assert abs(left.total_seconds() - min(most, 86_400)) < 60


def test_a_url_may_outlast_what_may_be_made_now(
    make_api: MakeApi, api: Api
) -> None:
    headers = _headers(_grant(api, expires=_in(10_000_000)))
    later = make_api(f'[signed_url]\nsecret_key = {KEY}')
    assert later('GET', MESSAGES, headers=headers).status == 200


# Using one.


def test_a_url_opens_what_it_names_and_what_is_below(api: Api) -> None:
    signed = _headers(_grant(api, methods=['GET', 'POST', 'DELETE']))
    document = {'messages': [{'body': 'hello'}]}
    posted = api('POST', MESSAGES, document, headers=signed)
    assert posted.status == 201
    (path,) = posted.json['resources']
    assert api('GET', path, headers=signed).json['body'] == 'hello'
    listed = api('GET', f'{MESSAGES}?echo=1', headers=signed)
    assert len(listed.json['messages']) == 1
    assert api('DELETE', path, headers=signed).status == 204


@pytest.mark.parametrize(
    'path',
    [
        '/v2/queues/jobs',
        '/v2/queues/jobs/stats',
        '/v2/queues/jobs/claims',
        '/v2/queues/jobs/messagesx',
        '/v2/queues/other/messages',
        '/v2/queues/jobs2/messages',
        '/v2/queues',
        '/v2/ping',
        '/v2/',
        '/v2/nothing',
    ],
)
def test_a_url_opens_nothing_else(api: Api, path: str) -> None:
    assert _is_refused(api('GET', path, headers=_headers(_grant(api))))


@pytest.mark.parametrize('method', ['POST', 'DELETE', 'PUT', 'PATCH', 'HEAD'])
def test_a_url_admits_its_methods_only(api: Api, method: str) -> None:
    headers = _headers(_grant(api))
    assert _is_refused(api(method, MESSAGES, {}, headers=headers))


@pytest.mark.proves('literal paths')
def test_a_dot_in_a_name_is_no_pattern(api: Api) -> None:
    grant = dict(api('POST', '/v2/queues/a.b/share', {}).json)
    headers = _headers(grant)
    assert api('GET', '/v2/queues/a.b/messages', headers=headers).status == 200
    path = '/v2/queues/aXb/messages'
    assert _is_refused(api('GET', path, headers=headers))


@pytest.mark.proves('signed requests have no user')
@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('URL-Signature', ''),
        ('URL-Signature', 'f' * 64),
        ('URL-Signature', 'é'),
        ('URL-Expires', None),
        ('URL-Expires', ''),
        ('URL-Expires', 'never'),
        ('URL-Expires', '2200-01-01T00:00:00'),
        ('URL-Methods', None),
        ('URL-Methods', 'GET,POST'),
        ('URL-Methods', 'get'),
        ('URL-Methods', ' GET'),
        ('URL-Paths', None),
        ('URL-Paths', '('),
        ('URL-Paths', '.*'),
        ('URL-Paths', '/v2/queues/jobs'),
        ('URL-Paths', ''),
        ('X-Project-ID', None),
        ('X-Project-ID', ''),
        ('X-Project-ID', 'b'),
    ],
)
def test_whatever_is_altered_does_not_verify(
    api: Api, name: str, value: str | None
) -> None:
    headers = {**_headers(_grant(api)), name: value}
    assert _is_refused(api('GET', MESSAGES, headers=headers))


def test_a_url_of_the_past_does_not_verify(api: Api) -> None:
    expires = '2020-01-01T00:00:00'
    grant = Grant([MESSAGES], ['GET'], PROJECT, expires)
    headers = _headers(
        {
            'paths': grant.paths,
            'methods': grant.methods,
            'project': PROJECT,
            'expires': expires,
            'signature': Signer(KEY).sign(grant),
        }
    )
    assert _is_refused(api('GET', MESSAGES, headers=headers))


def test_a_url_ends_at_the_second() -> None:
    now = [1_800_000_000_000]
    signer = Signer(KEY, wall=lambda: now[0])
    grant = Grant([MESSAGES], ['GET'], 'p', '2027-01-15T08:01:00')
    signature = signer.sign(grant)
    now[0] += 59_999
    assert signer.admits(grant, signature, 'GET', MESSAGES)
    now[0] += 1
    assert not signer.admits(grant, signature, 'GET', MESSAGES)


def test_another_key_does_not_verify(make_api: MakeApi, api: Api) -> None:
    other = make_api('[signed_url]\nsecret_key = another key of length')
    headers = _headers(_grant(api))
    assert _is_refused(other('GET', MESSAGES, headers=headers))


OTHER = 'another key, of length'


@pytest.mark.proves('signing key rotation')
def test_a_key_is_replaced_while_urls_are_used(make_api: MakeApi) -> None:
    def service(first: str, *others: str) -> Api:
        lines = [f'verification_keys = {key}\n' for key in others]
        text = f'[signed_url]\nsecret_key = {first}\n'
        return make_api(text + ''.join(lines))

    def admits(api: Api, by: Api) -> bool:
        return api('GET', MESSAGES, headers=_headers(_grant(by))).status == 200

    old, prepared = service(KEY), service(KEY, OTHER)
    swapped, new = service(OTHER, KEY), service(OTHER)
    for one in (old, prepared, swapped):
        assert admits(one, by=old) and admits(one, by=prepared)
    for one in (prepared, swapped, new):
        assert admits(one, by=swapped) and admits(one, by=new)
    assert not admits(new, by=old)
    assert not admits(old, by=swapped)


def test_a_key_that_verifies_signs_nothing(make_api: MakeApi) -> None:
    api = make_api(f'[signed_url]\nverification_keys = {KEY}')
    answer = api('POST', SHARE, {})
    assert answer.is_error(400, 'Invalid API request', "The `key` can't be")


def test_each_key_is_long(make_api: MakeApi) -> None:
    with pytest.raises(ConfigurationError, match='verification_keys is too'):
        make_api('[signed_url]\nverification_keys = fifteen bytes..')


@pytest.mark.parametrize('end', ['Z', '+00:00'])
def test_the_end_may_be_sent_with_its_zone(api: Api, end: str) -> None:
    grant = _grant(api)
    headers = {**_headers(grant), 'URL-Expires': f'{grant["expires"]}{end}'}
    assert api('GET', MESSAGES, headers=headers).status == 200


def test_the_order_of_lists_is_free(api: Api) -> None:
    grant = _grant(api, paths=['messages', 'claims'], methods=['GET', 'PUT'])
    headers = {
        **_headers(grant),
        'URL-Paths': ','.join(reversed(grant['paths'])),
        'URL-Methods': ','.join(reversed(grant['methods'])),
    }
    assert api('GET', MESSAGES, headers=headers).status == 200


def test_a_client_id_is_still_needed(api: Api) -> None:
    headers = {**_headers(_grant(api)), 'Client-ID': None}
    answer = api('GET', MESSAGES, headers=headers)
    assert answer.is_error(400, 'Missing header value')


@pytest.mark.proves('signed requests have no user')
@pytest.mark.parametrize(
    'header',
    ['X-Roles', 'x-roles', 'X-Role', 'X-User-Id', 'X-Is-Admin-Project'],
)
def test_a_url_brings_no_role_and_no_user(
    make_api: MakeApi, tmp_path: Any, header: str
) -> None:
    (tmp_path / 'policy.yaml').write_text(
        '"messages:get_all": "role:admin or user_id:admin"'
    )
    api = make_api(
        f'[signed_url]\nsecret_key = {KEY}\n'
        f'[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml'
    )
    headers = {**_headers(_grant(api)), header: 'admin'}
    assert api('GET', MESSAGES, headers=headers).status == 403


def test_a_url_brings_no_other_project(api: Api) -> None:
    api.post('jobs', 'mine')
    headers = {
        **_headers(_grant(api)),
        'X-Tenant-Id': 'b',
        'X-Tenant': 'b',
        'X-Project': 'b',
    }
    listed = api('GET', f'{MESSAGES}?echo=1', headers=headers)
    assert len(listed.json['messages']) == 1


# What was made through one ends with it.

HOOK = 'https://a.example/hook'


def _soon(api: Api, seconds: int, *paths: str) -> dict[str, Any]:
    """Return the headers of a URL that ends soon."""
    end = datetime.datetime.now(datetime.UTC)
    end += datetime.timedelta(seconds=seconds)
    methods = ['DELETE', 'GET', 'PATCH', 'POST', 'PUT']
    expires = end.isoformat()
    grant = _grant(api, paths=paths, methods=methods, expires=expires)
    return dict(_headers(grant))


def _subscribe(api: Api, headers: Any, **fields: Any) -> str:
    path = '/v2/queues/jobs/subscriptions'
    body = {'subscriber': HOOK, **fields}
    answer = api('POST', path, body, headers=headers)
    assert answer.status == 201, answer
    return f'{path}/{answer.json["subscription_id"]}'


@pytest.mark.proves('signed access ends')
def test_a_subscription_made_through_a_url_ends_with_it(api: Api) -> None:
    path = _subscribe(api, _soon(api, 1000, 'subscriptions'), ttl=10**11)
    assert 990 <= api('GET', path).json['ttl'] <= 1000
    api.clock.move(1000)
    assert api('GET', path).status == 404


def test_a_shorter_life_stays_as_it_was_asked_for(api: Api) -> None:
    path = _subscribe(api, _soon(api, 1000, 'subscriptions'), ttl=60)
    assert api('GET', path).json['ttl'] == 60


def test_a_subscription_is_not_prolonged_beyond_the_url(api: Api) -> None:
    signed = _soon(api, 1000, 'subscriptions')
    path = _subscribe(api, signed, ttl=60)
    assert api('PATCH', path, {'ttl': 10**11}, headers=signed).status == 204
    assert 990 <= api('GET', path).json['ttl'] <= 1000
    # Its owner may, by another way in.
    assert api('PATCH', path, {'ttl': 10**11}).status == 204
    assert api('GET', path).json['ttl'] == 10**11


@pytest.mark.proves('signed access ends')
def test_a_subscriber_who_came_through_a_url_ends_with_it(api: Api) -> None:
    path = _subscribe(api, {}, ttl=10**11)
    signed = _soon(api, 1000, 'subscriptions')
    change: dict[str, Any] = {'options': {'a': 1}, 'subscriber': HOOK}
    assert api('PATCH', path, change, headers=signed).status == 204
    assert api('GET', path).json['ttl'] == 10**11
    change = {'subscriber': f'{HOOK}/other'}
    assert api('PATCH', path, change, headers=signed).status == 204
    assert 990 <= api('GET', path).json['ttl'] <= 1000
    api.clock.move(1000)
    assert api('GET', path).status == 404


@pytest.mark.proves('signed access ends')
def test_a_claim_made_through_a_url_ends_with_it(api: Api) -> None:
    api.post('jobs', 'a', ttl=3600)
    signed = _soon(api, 1000, 'claims')
    path = '/v2/queues/jobs/claims'
    answer = api('POST', path, {'ttl': 43_200}, headers=signed)
    assert answer.status == 201
    claim = answer.headers['location']
    assert 990 <= api('GET', claim).json['ttl'] <= 1000
    renewed = api('PATCH', claim, {'ttl': 43_200}, headers=signed)
    assert renewed.status == 204
    assert 990 <= api('GET', claim).json['ttl'] <= 1000
    api.clock.move(1000)
    assert api('POST', path, {}).status == 201


def test_a_url_may_last_until_the_year_9999(api: Api) -> None:
    grant = _grant(
        api,
        paths=['subscriptions'],
        methods=['POST'],
        expires='9999-12-31T23:59:59',
    )
    path = _subscribe(api, _headers(grant), ttl=10**11)
    assert api('GET', path).json['ttl'] == 10**11


# From 2.1 on, one counts for a single queue.

NEW = {HEADER: V2_1.header}


def _share_bound(api: Api, *paths: str, queue: str = 'jobs') -> Any:
    """Return the headers of a URL for the present queue."""
    document = {
        'paths': paths or ['messages'],
        'methods': ['DELETE', 'GET', 'PATCH', 'POST', 'PUT'],
    }
    path = f'/v2/queues/{queue}/share'
    answer = api('POST', path, document, headers=NEW)
    assert answer.status == 200, answer
    signature = answer.json['signature']
    assert re.fullmatch(r'[0-9a-f]{64}\.[0-9a-f]{16}', signature)
    return _headers(answer.json)


def test_from_2_1_on_there_has_to_be_a_queue(api: Api) -> None:
    missing = api('POST', SHARE, {}, headers=NEW)
    assert (missing.status, missing.title) == (404, 'Not found')
    assert api('POST', SHARE, {'methods': 0}, headers=NEW).status == 400
    assert not api('GET', '/v2/queues').json['queues']


@pytest.mark.proves('one queue')
def test_a_url_for_a_queue_ends_with_it(api: Api) -> None:
    api('PUT', '/v2/queues/jobs')
    paths = ('messages', 'claims', 'subscriptions')
    bound, old = _share_bound(api, *paths), _headers(_grant(api))
    requests = [
        ('POST', MESSAGES, {'messages': [{'body': 1}]}),
        ('GET', f'{MESSAGES}?echo=true', ABSENT),
        ('POST', '/v2/queues/jobs/claims', ABSENT),
        ('POST', '/v2/queues/jobs/subscriptions', {'subscriber': HOOK}),
        ('GET', '/v2/queues/jobs/subscriptions', ABSENT),
    ]
    for version in ({}, NEW):
        for method, path, document in requests:
            answer = api(method, path, document, headers={**bound, **version})
            assert answer.status < 300, answer
    api('DELETE', '/v2/queues/jobs')
    for is_back in (False, True):
        for method, path, document in requests:
            assert _is_refused(api(method, path, document, headers=bound))
        assert len(api('GET', '/v2/queues').json['queues']) == is_back
        api('PUT', '/v2/queues/jobs')
    stats = api('GET', '/v2/queues/jobs/stats').json['messages']
    assert stats['total'] == 0
    # It names the queue alone.
    assert api('GET', MESSAGES, headers=old).status == 200


@pytest.mark.proves('one queue')
@pytest.mark.parametrize('is_back', [False, True])
def test_another_process_deletes_the_queue(
    make_api: MakeApi, is_back: bool
) -> None:
    here = make_api(LONG)
    folder = here.service.conf.state_path
    there = make_api(f'state_path = {folder}\n{LONG}')
    here('PUT', '/v2/queues/jobs')
    bound = _share_bound(here)
    body = {'messages': [{'body': 1}]}
    assert here('POST', MESSAGES, body, headers=bound).status == 201
    there('DELETE', '/v2/queues/jobs')
    if is_back:
        there('PUT', '/v2/queues/jobs')
    # What it remembers of the queue is of before.
    assert _is_refused(here('POST', MESSAGES, body, headers=bound))
    listed = there('GET', '/v2/queues').json['queues']
    assert len(listed) == is_back
    assert not there('GET', f'{MESSAGES}?echo=true').json['messages']


@pytest.mark.parametrize(
    'change',
    [
        lambda text: text[:64],
        lambda text: text[:65],
        lambda text: f'{text[:65]}{"0" * 16}',
        lambda text: f'{text}0',
        lambda text: f'{text}.{text[65:]}',
        lambda text: text.upper(),
    ],
)
def test_a_fingerprint_cannot_be_changed(api: Api, change: Any) -> None:
    api('PUT', '/v2/queues/jobs')
    bound = _share_bound(api)
    assert api('GET', MESSAGES, headers=bound).status == 200
    bound['URL-Signature'] = change(bound['URL-Signature'])
    assert _is_refused(api('GET', MESSAGES, headers=bound))


def test_an_old_signature_takes_no_fingerprint(api: Api) -> None:
    api('PUT', '/v2/queues/jobs')
    _, dot, fingerprint = _share_bound(api)['URL-Signature'].partition('.')
    old = _headers(_grant(api))
    old['URL-Signature'] += dot + fingerprint
    assert _is_refused(api('GET', MESSAGES, headers=old))


def test_a_url_for_one_queue_opens_no_other(api: Api) -> None:
    for queue in ('jobs', 'other'):
        api('PUT', f'/v2/queues/{queue}')
    bound = _share_bound(api, queue='other')
    assert _is_refused(api('GET', MESSAGES, headers=bound))


def test_the_queue_is_looked_up_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api('PUT', '/v2/queues/jobs')
    bound = _share_bound(api)
    management = api.service.catalogue.management
    body = {'messages': [{'body': 1}]}
    assert api('POST', MESSAGES, body, headers=bound).status == 201
    monkeypatch.setattr(management, 'get', None)
    assert api('POST', MESSAGES, body, headers=bound).status == 201


def test_a_url_outlasts_a_move_to_another_pool(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    place = f'sqlite_path = {tmp_path}\n'
    api = make_api(f'{POOLED}{VIRTUAL}{place}{LONG}').as_admin()
    uri = f'sqlite:///{tmp_path}/fast.sqlite'
    made = api('PUT', '/v2/pools/fast', {'uri': uri, 'weight': 1})
    assert made.status == 201, made
    flavor = api('PUT', '/v2/flavors/fast', {'pool_list': ['fast']})
    assert flavor.status == 201, flavor
    api('PUT', '/v2/queues/jobs')
    bound = _share_bound(api)
    step = {'op': 'add', 'path': '/metadata/_flavor', 'value': 'fast'}
    moved = api(
        'PATCH', '/v2/queues/jobs', [step], headers={'Content-Type': PATCH}
    )
    assert moved.status == 200, moved
    body = {'messages': [{'body': 1}]}
    assert api('POST', MESSAGES, body, headers=bound).status == 201
    api('DELETE', '/v2/queues/jobs')
    api('PUT', '/v2/queues/jobs', {'_flavor': 'fast'})
    assert _is_refused(api('POST', MESSAGES, body, headers=bound))


#: Every value that a header could have which does not verify.
FORGED = ('', 'garbage', 'f' * 64, 'of another queue', 'expired')


@pytest.mark.proves('one authentication method')
@pytest.mark.parametrize(
    'row',
    [row for row in operation_table.OPERATIONS if row.http],
    ids=lambda r: r.name,
)
@pytest.mark.parametrize('kind', FORGED)
def test_no_route_lets_a_signature_in_that_does_not_hold(
    api: Api, row: Any, kind: str
) -> None:
    values = dict.fromkeys(re.findall(r'{(\w+)}', row.path), 'x')
    path = row.path.format(**values)
    shared = dict(api('POST', '/v2/queues/other/share', {}).json)
    if kind == 'expired':
        grant = Grant([path], [row.method], PROJECT, '2020-01-01T00:00:00')
        shared = {
            'paths': grant.paths,
            'methods': grant.methods,
            'project': PROJECT,
            'expires': grant.expires,
            'signature': Signer(KEY).sign(grant),
        }
    elif kind != 'of another queue':
        shared['signature'] = kind
    headers = {**_headers(shared), 'X-Roles': 'admin'}
    answer = api(row.method, path, {}, headers=headers)
    assert _is_refused(answer)
