# SPDX-License-Identifier: Apache-2.0
"""Bodies at rest: reference/storage, "Encryption and checksums"."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.controllers import claims_skipping_undecryptable_messages
from zaqar.controllers.message_encryption import (
    UNREADABLE,
    Cipher,
    is_encrypted,
)
from zaqar.errors import ConfigurationError, DecryptionFailed, KeyMissing
from zaqar.microversion_constants import V2_1
from zaqar.objects import Kind, Scope
from zaqar.storage.sqlalchemy import tables
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api, Response
from zaqar.tests.functional.http.conftest import MakeApi
from zaqar.tests.functional.http.engines import OWN

QUEUE = '/v2/queues/jobs'
MESSAGES = f'{QUEUE}/messages'
SECRET = 'attack at dawn'
KEY = 'a key of some length'
ON = {'_enable_encrypt_messages': True}

SCOPE = Scope('p', 'q')
RND = '0123456789abcdef'


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    api = make_api(f'[transport]\nmessage_encryption_key = {KEY}')
    api('PUT', QUEUE, ON)
    return api


def _at_rest(api: Api) -> list[bytes]:
    statement = (
        sa.select(tables.message.c.body)
        .where(pools.IS_OF_A_CLIENT)
        .order_by(tables.message.c.queue_id, tables.message.c.seq)
    )
    return [row[0] for row in pools.rows(api, OWN, statement)]


@pytest.mark.proves('encrypted bodies')
def test_what_is_kept_cannot_be_read(api: Api) -> None:
    api.post('jobs', SECRET, {'a': SECRET})
    for body in _at_rest(api):
        assert is_encrypted(body)
        assert SECRET.encode() not in body
    assert len(set(_at_rest(api))) == 2


BODIES = [SECRET, {'a': [1, None, True, 1.5]}, [], '', None, 0, 'é☃']


def test_what_comes_out_is_what_was_posted_whichever_way(api: Api) -> None:
    ids = api.post('jobs', *BODIES)
    assert api.bodies('jobs') == BODIES
    several = api('GET', f'{MESSAGES}?ids={",".join(ids)}').json['messages']
    assert [message['body'] for message in several] == BODIES
    for message, body in zip(ids, BODIES, strict=True):
        assert api('GET', f'{MESSAGES}/{message}').json['body'] == body
    claim = api.claim('jobs', ttl=60)
    assert [m['body'] for m in claim.json['messages']] == BODIES
    held = api('GET', claim.headers['location']).json['messages']
    assert [message['body'] for message in held] == BODIES
    api.clock.move(60)
    popped = api('DELETE', f'{MESSAGES}?pop=20').json['messages']
    assert [message['body'] for message in popped] == BODIES


def test_the_checksum_is_that_of_the_plain_body(make_api: MakeApi) -> None:
    api = make_api(
        f'enable_checksum = true\n[transport]\nmessage_encryption_key = {KEY}'
    )
    api('PUT', QUEUE, ON)
    (message,) = api.post('jobs', {'a': 1})
    shown = api('GET', f'{MESSAGES}/{message}').json
    assert shown['checksum'] == 'MD5:42b7b4f2921788ea14dac5566e6f06d0'


def test_a_queue_may_change_its_mind(api: Api) -> None:
    def switch(value: bool) -> None:
        change = {
            'op': 'replace',
            'path': '/metadata/_enable_encrypt_messages',
            'value': value,
        }
        answer = api('PATCH', QUEUE, [change], headers={'Content-Type': PATCH})
        assert answer.status == 200

    for number, value in enumerate((True, False, True)):
        switch(value)
        api.post('jobs', number)
    assert [is_encrypted(body) for body in _at_rest(api)] == [
        True,
        False,
        True,
    ]
    assert api.bodies('jobs') == [0, 1, 2]
    switch(False)
    assert api.bodies('jobs') == [0, 1, 2]


def test_dead_letters_are_sealed_for_their_new_queue(api: Api) -> None:
    api('PUT', '/v2/queues/b', {**ON, '_dead_letter_queue': 'dead'})
    change = {'op': 'add', 'path': '/metadata/_max_claim_count', 'value': 1}
    api('PATCH', '/v2/queues/b', [change], headers={'Content-Type': PATCH})
    api.post('b', SECRET)
    api.claim('b', ttl=60)
    api.clock.move(60)
    assert api.claim('b').status == 204
    assert [is_encrypted(body) for body in _at_rest(api)] == [True]
    assert api.bodies('dead') == [SECRET]


def test_topics_are_sealed_too(api: Api) -> None:
    on_topics = api.on_topics()
    on_topics('PUT', '/v2/queues/news', ON)
    on_topics.post('news', SECRET)
    assert all(is_encrypted(body) for body in _at_rest(api))
    assert on_topics.bodies('news') == [SECRET]


def test_a_row_moved_to_another_queue_does_not_open(api: Api) -> None:
    api('PUT', '/v2/queues/other', ON)
    api.post('jobs', SECRET)
    api.post('other', 'x')
    pools.rows(
        api, OWN, sa.update(tables.message).values(body=_at_rest(api)[0])
    )
    seen = [
        api('GET', f'/v2/queues/{q}/messages?echo=1')
        for q in ('jobs', 'other')
    ]
    assert sorted(answer.status for answer in seen) == [200, 503]
    assert SECRET.encode() not in seen[1].body


# Keys.


@pytest.mark.proves('no built-in key')
@pytest.mark.parametrize('text', ['', 'message_encryption_key = AES256'])
def test_without_a_key_no_queue_can_be_encrypted(
    make_api: MakeApi, text: str
) -> None:
    api = make_api(f'[transport]\n{text}')
    answer = api('PUT', QUEUE, ON)
    assert answer.is_error(400, 'Invalid API request', 'no encryption key')


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        ('message_encryption_key = fifteen letters', 'at least 16 characters'),
        ('message_encryption_keys = a:short', 'at least 16 characters'),
        ('message_encryption_keys = no colon at all here', 'id:key'),
        ('message_encryption_algorithms = RSA', 'only AES256 works'),
    ],
)
def test_a_bad_key_stops_the_start(
    make_api: MakeApi, text: str, fault: str
) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        make_api(f'[transport]\n{text}')


@pytest.mark.proves('key rotation')
def test_keys_can_be_changed_while_messages_lie_there() -> None:
    old = Cipher({'1': KEY})
    both = Cipher({'2': 'another key of length', '1': KEY})
    new = Cipher({'2': 'another key of length'})
    first = old.encrypt(b'"x"', SCOPE, RND)
    second = both.encrypt(b'"y"', SCOPE, RND)
    assert both.decrypt(first, SCOPE, RND) == b'"x"'
    assert new.decrypt(second, SCOPE, RND) == b'"y"'
    with pytest.raises(KeyMissing):
        new.decrypt(first, SCOPE, RND)
    with pytest.raises(KeyMissing):
        old.decrypt(second, SCOPE, RND)


@pytest.mark.proves('encrypted bodies')
@pytest.mark.parametrize(
    'place',
    [
        (Scope('p', 'other'), RND),
        (Scope('other', 'q'), RND),
        (Scope('p', 'q', Kind.TOPIC), RND),
        (SCOPE, 'f' * 16),
    ],
)
def test_a_body_opens_in_its_own_place_only(place: Any) -> None:
    cipher = Cipher({'1': KEY})
    sealed = cipher.encrypt(b'"x"', SCOPE, RND)
    with pytest.raises(DecryptionFailed):
        cipher.decrypt(sealed, *place)


@pytest.mark.proves('encrypted bodies')
@pytest.mark.parametrize('bit', [1, 128])
@pytest.mark.parametrize('at', [1, 2, 5, 20, -1])
def test_a_body_that_was_tampered_with_does_not_open(
    at: int, bit: int
) -> None:
    cipher = Cipher({'1': KEY})
    sealed = bytearray(cipher.encrypt(b'{"a": 1}', SCOPE, RND))
    sealed[at] ^= bit
    with pytest.raises(UNREADABLE):
        cipher.decrypt(bytes(sealed), SCOPE, RND)


def test_a_body_that_was_cut_off_does_not_open() -> None:
    cipher = Cipher({'1': KEY})
    sealed = cipher.encrypt(b'{"a": 1}', SCOPE, RND)
    for size in range(1, len(sealed)):
        with pytest.raises(UNREADABLE):
            cipher.decrypt(sealed[:size], SCOPE, RND)


@pytest.mark.proves('encrypted bodies')
def test_the_same_body_is_never_sealed_alike() -> None:
    cipher = Cipher({'1': KEY})
    assert len({cipher.encrypt(b'1', SCOPE, RND) for _ in range(100)}) == 100


# What cannot be read is not thrown away.


@pytest.fixture
def keyless(make_api: MakeApi, api: Api) -> Api:
    """Another process on the same stores, with a key that fits nothing."""
    folder = api.service.conf.state_path
    other = make_api(
        f'state_path = {folder}\n[transport]\n'
        'message_encryption_key = another key of length\n'
    )
    return Api(other.service, api.clock)


def _switch_off(api: Api) -> None:
    change = {
        'op': 'replace',
        'path': '/metadata/_enable_encrypt_messages',
        'value': False,
    }
    answer = api('PATCH', QUEUE, [change], headers={'Content-Type': PATCH})
    assert answer.status == 200


@pytest.mark.parametrize('marked', [True, False])
def test_pop_keeps_what_it_cannot_decrypt(
    api: Api, keyless: Api, marked: bool
) -> None:
    ids = api.post('jobs', 'a', 'b', ttl=300)
    if not marked:
        _switch_off(api)
    for _ in range(3):
        answer = keyless('DELETE', f'{MESSAGES}?pop=2')
        assert answer.is_error(503, 'Service temporarily unavailable')
    several = api('GET', f'{MESSAGES}?ids={",".join(ids)}').json['messages']
    assert sorted(message['body'] for message in several) == ['a', 'b']
    stats = api('GET', f'{QUEUE}/stats').json['messages']
    assert (stats['free'], stats['total']) == (2, 2)
    popped = api('DELETE', f'{MESSAGES}?pop=2').json['messages']
    assert sorted(message['body'] for message in popped) == ['a', 'b']
    assert {message['ttl'] for message in popped} == {300}


def test_pop_of_an_encrypted_queue_takes_each_message_once(api: Api) -> None:
    api.post('jobs', *range(5))
    held = api.claim('jobs', limit=1)
    assert held.status == 201
    seen: list[Any] = []
    while True:
        answer = api('DELETE', f'{MESSAGES}?pop=2')
        assert answer.status == 200
        if not answer.json['messages']:
            break
        seen += [message['body'] for message in answer.json['messages']]
        assert all(m['claim_id'] is None for m in answer.json['messages'])
    assert sorted(seen) == seen
    assert len(seen) == len(set(seen)) == 5 - len(held.json['messages'])


def test_pop_counts_as_no_claim_where_bodies_are_encrypted(api: Api) -> None:
    api('PUT', '/v2/queues/b', {**ON, '_dead_letter_queue': 'dead'})
    change = {'op': 'add', 'path': '/metadata/_max_claim_count', 'value': 1}
    api('PATCH', '/v2/queues/b', [change], headers={'Content-Type': PATCH})
    api.post('b', 1)
    popped = api('DELETE', '/v2/queues/b/messages?pop=1').json['messages']
    assert [message['claim_count'] for message in popped] == [0]


def _claims_in_vain(keyless: Api, queue: str) -> None:
    for _ in range(3):
        answer = keyless.claim(queue, ttl=300)
        assert answer.is_error(503, 'Service temporarily unavailable')


@pytest.mark.parametrize('marked', [True, False])
def test_a_claim_holds_nothing_that_it_cannot_decrypt(
    api: Api, keyless: Api, marked: bool
) -> None:
    api.post('jobs', 'a', 'b', ttl=3600)
    if not marked:
        _switch_off(api)
    _claims_in_vain(keyless, 'jobs')
    claimed = api.claim('jobs', ttl=60).json['messages']
    assert [message['body'] for message in claimed] == ['a', 'b']
    assert {message['ttl'] for message in claimed} == {3600}


def test_a_claim_counts_nothing_that_it_cannot_decrypt(
    api: Api, keyless: Api
) -> None:
    dead = {'_dead_letter_queue': 'dead', '_max_claim_count': 2}
    api('PUT', '/v2/queues/b', {**ON, **dead})
    api.post('b', 'a', ttl=3600)
    _claims_in_vain(keyless, 'b')
    for _ in range(2):
        claimed = api.claim('b', ttl=60).json['messages']
        assert [message['body'] for message in claimed] == ['a']
        api.clock.move(60)
    # Nor is it moved where it could not be sealed anew.
    _claims_in_vain(keyless, 'b')
    assert api.claim('b').status == 204
    assert api.bodies('dead') == ['a']


# What cannot be read keeps nobody from the others.


@pytest.fixture
def named(make_api: MakeApi) -> Api:
    """A service whose key has an id."""
    api = make_api(f'[transport]\nmessage_encryption_keys = one:{KEY}')
    api('PUT', QUEUE, ON)
    return api


def _claim(api: Api, limit: int) -> Response:
    return api('POST', f'{QUEUE}/claims?limit={limit}', {'ttl': 300})


def _damage(api: Api, *ids: str) -> None:
    """Change what is stored of messages."""
    table = tables.message.c
    numbers = [int(name[:16], 16) for name in ids]
    change = sa.update(tables.message).where(table.seq.in_(numbers))
    pools.rows(api, OWN, change.values(body=b'\x01\x03one' + b'x' * 60))


def test_a_damaged_message_is_left_out_of_a_list(named: Api) -> None:
    ids = named.post('jobs', *range(5))
    _damage(named, ids[0], ids[3])
    assert named.bodies('jobs') == [1, 2, 4]
    assert named.bodies('jobs', 'echo=1&limit=2') == [1, 2]
    several = named('GET', f'{MESSAGES}?ids={",".join(ids)}').json['messages']
    assert [message['body'] for message in several] == [1, 2, 4]
    assert named('GET', f'{QUEUE}/stats').json['messages']['total'] == 5


def test_pages_go_on_behind_damaged_messages(named: Api) -> None:
    ids = [name for _ in range(10) for name in named.post('jobs', *range(20))]
    _damage(named, *ids[:150], *ids[170:199])
    shown: list[str] = []
    href = f'{MESSAGES}?echo=1&limit=3'
    for _ in range(20):
        page = named('GET', href).json
        if not page['messages']:
            break
        shown += [message['id'] for message in page['messages']]
        href = page['links'][0]['href']
    assert shown == [*ids[150:170], ids[199]]


def test_a_damaged_message_is_an_error_of_its_own(
    named: Api, caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = named.post('jobs', SECRET)
    _damage(named, name)
    for _ in range(3):
        answer = named('GET', f'{MESSAGES}/{name}')
        assert answer.is_error(409, 'Resource conflict', name)
    lines = [line for line in caplog.messages if 'authenticated' in line]
    assert len(lines) == 1
    assert name in lines[0]
    assert 'the key "one"' in lines[0]
    assert named('DELETE', f'{MESSAGES}/{name}').status == 204
    assert named('GET', f'{MESSAGES}/{name}').status == 404


@pytest.mark.parametrize('marked', [True, False])
def test_a_claim_passes_over_damaged_messages(
    named: Api, marked: bool
) -> None:
    ids = named.post('jobs', *range(6), ttl=600)
    _damage(named, *ids[:4])
    if not marked:
        _switch_off(named)
    claim = _claim(named, 2)
    assert [m['body'] for m in claim.json['messages']] == [4, 5]
    held = named('GET', claim.headers['location']).json['messages']
    assert [message['body'] for message in held] == [4, 5]
    # The others are free in a moment, whatever the claim.
    named.clock.move(claims_skipping_undecryptable_messages.HOLD)
    stats = named('GET', f'{QUEUE}/stats').json['messages']
    assert (stats['free'], stats['claimed']) == (4, 2)


@pytest.mark.parametrize('marked', [True, False])
def test_a_pop_passes_over_damaged_messages(named: Api, marked: bool) -> None:
    ids = named.post('jobs', *range(6), ttl=600)
    _damage(named, *ids[:3])
    if not marked:
        _switch_off(named)
    shown: list[Any] = []
    for _ in range(3):
        answer = named('DELETE', f'{MESSAGES}?pop=2')
        assert answer.status == 200
        shown += [message['body'] for message in answer.json['messages']]
    assert shown == [3, 4, 5]
    assert named('GET', f'{QUEUE}/stats').json['messages']['total'] == 3


@pytest.mark.parametrize('count', [1, 3, 50])
def test_a_queue_of_damaged_messages_is_as_good_as_empty(
    named: Api, count: int
) -> None:
    ids = [
        name
        for start in range(0, count, 10)
        for name in named.post('jobs', *range(start, min(start + 10, count)))
    ]
    _damage(named, *ids)
    assert named.bodies('jobs') == []
    assert _claim(named, 2).status == 204
    popped = named('DELETE', f'{MESSAGES}?pop=2')
    assert (popped.status, popped.json['messages']) == (200, [])
    named.clock.move(claims_skipping_undecryptable_messages.HOLD)
    assert named('GET', f'{QUEUE}/stats').json['messages']['free'] == count


def test_many_damaged_messages_hold_up_nobody_for_long(named: Api) -> None:
    ids = named.post('jobs', *range(20))
    _damage(named, *ids[:15])
    answers = [_claim(named, 1) for _ in range(3)]
    assert [answer.status for answer in answers] == [204, 201, 201]
    claimed = [answer.json['messages'][0]['body'] for answer in answers[1:]]
    assert claimed == [15, 16]


def test_a_damaged_message_stays_in_the_claim_of_others(named: Api) -> None:
    first, second = named.post('jobs', 'a', 'b', ttl=3600)
    _damage(named, first)
    claim = _claim(named, 2)
    assert [m['id'] for m in claim.json['messages']] == [second]
    held = claim.headers['location']
    claim_id = held.rpartition('/')[2]
    path = f'{MESSAGES}/{second}?claim_id={claim_id}'
    assert named('DELETE', path).status == 204
    assert named('GET', held).status == 404
    assert named('DELETE', held).status == 204
    stats = named('GET', f'{QUEUE}/stats').json['messages']
    assert (stats['free'], stats['claimed']) == (1, 0)


def test_a_message_whose_key_is_missing_keeps_nobody_from_others(
    api: Api, keyless: Api
) -> None:
    api.post('jobs', 'theirs')
    keyless.post('jobs', 'ours')
    assert keyless.bodies('jobs') == ['ours']
    assert api.bodies('jobs') == ['theirs']
    claim = keyless.claim('jobs', ttl=60)
    assert [m['body'] for m in claim.json['messages']] == ['ours']
    api.clock.move(60)
    popped = keyless('DELETE', f'{MESSAGES}?pop=2').json['messages']
    assert [message['body'] for message in popped] == ['ours']
    api.clock.move(claims_skipping_undecryptable_messages.HOLD)
    popped = api('DELETE', f'{MESSAGES}?pop=2').json['messages']
    assert [message['body'] for message in popped] == ['theirs']


def test_a_damaged_message_is_no_dead_letter(named: Api) -> None:
    dead = {'_dead_letter_queue': 'dead', '_max_claim_count': 1}
    named('PUT', '/v2/queues/b', {**ON, **dead})
    first, _ = named.post('b', 'a', 'b', ttl=3600)
    named.claim('b', ttl=60)
    _damage(named, first)
    named.clock.move(60)
    assert named.claim('b').status == 204
    assert named.bodies('dead') == ['b']
    stats = named('GET', '/v2/queues/b/stats').json['messages']
    assert (stats['free'], stats['claimed']) == (1, 0)
    named.post('b', 'c')
    claimed = named.claim('b', ttl=60).json['messages']
    assert [message['body'] for message in claimed] == ['c']


@pytest.mark.parametrize('how', ['without its key', 'damaged'])
def test_an_explanation_says_that_a_message_is_unreadable(
    named: Api, make_api: MakeApi, how: str
) -> None:
    (one,) = named.post('jobs', 1)
    api = named
    if how == 'damaged':
        _damage(named, one)
    else:
        folder = named.service.conf.state_path
        other = make_api(
            f'state_path = {folder}\n[transport]\n'
            'message_encryption_keys = two:another key of length\n'
        )
        api = Api(other.service, named.clock)
    path = f'{MESSAGES}/{one}/explain'
    shown = api.at(V2_1)('GET', path).json
    assert (shown['state'], shown['claimable']) == ('free', False)
    assert shown['listed'] is False
    text = 'does not have' if how != 'damaged' else 'authenticated decryption'
    assert text in shown['because'][0]
