# SPDX-License-Identifier: Apache-2.0
"""What messages show from 2.1 on: reference/http, "Messages"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.microversion_constants import V2_0, V2_1
from zaqar.tests.functional.http.client import Api

pytestmark = pytest.mark.sqlite

QUEUE = '/v2/queues/q'
NEW = {'created_at', 'claim_count'}

#: The clock of the tests begins here.
BEGINNING = '2027-01-15T08:00:00.000Z'


def _shown(api: Api) -> dict[str, dict[str, Any]]:
    """Return a message as each operation shows it, by name."""
    (id_,) = api.post('q', 1, ttl=3600)
    listed = api('GET', f'{QUEUE}/messages?echo=1').json['messages']
    one = api('GET', f'{QUEUE}/messages/{id_}').json
    named = api('GET', f'{QUEUE}/messages?ids={id_}').json['messages']
    claimed = api.claim('q')
    held = api('GET', claimed.headers['location']).json['messages']
    api('DELETE', claimed.headers['location'])
    popped = api('DELETE', f'{QUEUE}/messages?pop=1').json['messages']
    return {
        'list': listed[0],
        'get': one,
        'get many': named[0],
        'claim': claimed.json['messages'][0],
        'claim get': held[0],
        'pop': popped[0],
    }


def test_a_later_version_only_adds_keys(api: Api) -> None:
    old, new = _shown(api.at(V2_0)), _shown(api.at(V2_1))
    for name, message in new.items():
        assert set(message) - set(old[name]) == NEW - set(old[name]), name
        assert message['created_at'] == BEGINNING
        was_claimed = name in {'claim', 'claim get', 'pop'}
        assert message['claim_count'] == int(was_claimed)


def test_messages_of_topics_show_the_same(api: Api) -> None:
    (id_,) = api.on_topics().post('q', 1)
    path = f'/v2/topics/q/messages/{id_}'
    old, new = api.at(V2_0)('GET', path).json, api.at(V2_1)('GET', path).json
    assert new == {**old, 'created_at': BEGINNING, 'claim_count': 0}


def test_a_time_has_its_milliseconds(api: Api) -> None:
    api.clock.at += 7
    (id_,) = api.post('q', 1)
    shown = api.at(V2_1)('GET', f'{QUEUE}/messages/{id_}').json
    assert shown['created_at'] == '2027-01-15T08:00:00.007Z'


def test_claims_are_counted_where_letters_die(api: Api) -> None:
    api('PUT', QUEUE, {'_max_claim_count': 3, '_dead_letter_queue': 'd'})
    api.post('q', 1)
    counts = []
    for _ in range(2):
        claimed = api.at(V2_1).claim('q', ttl=60)
        counts.append(claimed.json['messages'][0]['claim_count'])
        api.clock.move(60)
    assert counts == [1, 2]


def test_a_delayed_message_says_when_it_is_visible(api: Api) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 10})
    (id_,) = api.post('q', 1)
    paths = (f'{QUEUE}/messages?ids={id_}', f'{QUEUE}/messages?echo=1')
    first, _ = paths
    seen = f'{paths[1]}&include_delayed=1'
    for path in (first, seen, f'{seen}&include_claimed=1'):
        (shown,) = api.at(V2_1)('GET', path).json['messages']
        assert shown['visible_at'] == '2027-01-15T08:00:10.000Z'
        (old,) = api.at(V2_0)('GET', path).json['messages']
        assert 'visible_at' not in old
    api.clock.move(10)
    for path in paths:
        (shown,) = api.at(V2_1)('GET', path).json['messages']
        assert 'visible_at' not in shown
    claimed = api.at(V2_1).claim('q').json['messages'][0]
    assert 'visible_at' not in claimed


def test_a_dead_letter_says_where_it_comes_from(api: Api) -> None:
    api('PUT', QUEUE, {'_max_claim_count': 1, '_dead_letter_queue': 'd'})
    api.post('q', 1, ttl=3600)
    api.claim('q', ttl=60)
    api.clock.move(60)
    assert api.claim('q').status == 204
    path = '/v2/queues/d/messages?echo=1'
    (old,) = api.at(V2_0)('GET', path).json['messages']
    assert 'dead_letter' not in old
    (shown,) = api.at(V2_1)('GET', path).json['messages']
    assert shown['dead_letter'] == {
        'queue': 'q',
        'reason': 'claimed 1 times',
        'claim_count': 1,
        'at': '2027-01-15T08:01:00.000Z',
    }
    # It counts from zero.
    assert shown['claim_count'] == 0
