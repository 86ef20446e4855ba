# SPDX-License-Identifier: Apache-2.0
"""Every action, in both encodings: reference/websocket, "Actions"."""

from __future__ import annotations

import datetime
import secrets
from typing import Any

import pytest
import requests

from zaqar.api import operation_table
from zaqar.api.microversion_negotiation import HEADER
from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.websocket.client import (
    OTHER_CLIENT,
    Said,
    Talk,
)
from zaqar.tests.servers.zaqar import Zaqar

ADMIN = {'X-Roles': 'admin'}


def test_an_answer_repeats_its_request(talk: Talk) -> None:
    body = {'queue_name': 'q', 'mine': [1, {'a': None}]}
    said = talk.ask('queue_get', body, {'correlation': 'x-7'})
    assert said.request == {
        'action': 'queue_get',
        'body': body,
        'headers': {**talk.headers, 'correlation': 'x-7'},
        'api': 'v2',
    }
    assert said.is_binary is talk.is_binary


def test_a_body_is_left_out_if_so_asked(talk: Talk) -> None:
    said = talk.ask(
        'queue_get', {'queue_name': 'q'}, {'Prefer': 'return=minimal'}
    )
    assert said.status == 200
    assert set(said.request) == {'action', 'headers', 'api'}


def test_secrets_are_not_repeated(talk: Talk) -> None:
    said = talk.ask('queue_list', headers={'x-auth-TOKEN': 't', 'A': 'b'})
    assert said.request['headers'] == {**talk.headers, 'A': 'b'}
    said = talk.ask('queue_list', headers={'URL-Signature': 's'})
    assert said.request['headers'] == talk.headers


def test_encodings_mix_on_a_connection(talk: Talk) -> None:
    for _ in range(4):
        talk.is_binary = not talk.is_binary
        assert talk.ask('queue_list').is_binary is talk.is_binary


def test_queues(talk: Talk) -> None:
    answer = talk.ask('queue_create', queue_name='a', metadata={'x': 1})
    assert (answer.status, type(answer.body)) == (201, str)
    again = talk.ask('queue_create', queue_name='a', metadata={'x': 2})
    assert (again.status, type(again.body)) == (204, str)
    shown = talk.ask('queue_get', queue_name='a')
    assert (shown.status, shown.body['x']) == (200, 1)
    assert shown.body['_default_message_ttl'] == 3600
    changes = [{'op': 'replace', 'path': '/metadata/x', 'value': 3}]
    updated = talk.ask('queue_update', queue_name='a', changes=changes)
    assert (updated.status, updated.body['x']) == (200, 3)
    absent = talk.ask('queue_update', queue_name='b', changes=changes)
    assert absent.is_error(404)
    gone = talk.ask('queue_delete', queue_name='a')
    assert (gone.status, type(gone.body)) == (204, str)
    assert talk.ask('queue_delete', queue_name='a').status == 204
    assert 'x' not in talk.ask('queue_get', queue_name='a').body


def test_queues_are_listed_page_by_page(talk: Talk) -> None:
    assert talk.ask('queue_list').body == {'queues': []}
    for name in ('a', 'b', 'c'):
        talk.ask('queue_create', queue_name=name)
    first = talk.ask('queue_list', limit=2)
    assert first.body == {
        'queues': [{'name': 'a'}, {'name': 'b'}],
        'marker': 'b',
    }
    rest = talk.ask('queue_list', marker='b', detailed=True)
    assert [queue['name'] for queue in rest.body['queues']] == ['c']
    assert rest.body['queues'][0]['metadata']['_default_message_ttl'] == 3600
    newer = {'OpenStack-API-Version': 'messaging 2.1'}
    counted = talk.ask('queue_list', headers=newer, with_stats=True, limit=1)
    assert counted.body['queues'][0]['stats']['messages']['total'] == 0
    assert talk.ask('queue_list', limit=0).is_error(400)
    assert talk.ask('queue_list', limit=21).is_error(400)


def test_statistics(talk: Talk) -> None:
    absent = talk.ask('queue_get_stats', queue_name='q')
    zeros = {'messages': {'claimed': 0, 'free': 0, 'total': 0}}
    assert (absent.status, absent.body) == (404, zeros)
    ids = talk.post('q', 1, 2, 3)
    talk.ask('claim_create', queue_name='q', limit=1)
    answer = talk.ask('queue_get_stats', queue_name='q')
    counts = answer.body['messages']
    assert answer.status == 200
    assert (counts['claimed'], counts['free'], counts['total']) == (1, 2, 3)
    assert counts['oldest']['id'] == ids[0]
    assert set(counts['newest']) == {'id', 'age', 'created'}


def test_a_purge(talk: Talk) -> None:
    absent = talk.ask('queue_purge', queue_name='q')
    assert (absent.status, absent.body) == (204, {})
    talk.post('q', 1)
    wrong = talk.ask('queue_purge', queue_name='q', resource_types=['x'])
    assert wrong.is_error(400)
    done = talk.ask('queue_purge', queue_name='q', resource_types=['messages'])
    assert (done.status, done.body) == (204, {})
    assert talk.bodies('q') == []


def test_messages_are_posted_and_listed(talk: Talk) -> None:
    ids = talk.post('q', {'a': [1, None, 'é']}, 'text', ttl=600)
    said = talk.ask('message_list', queue_name='q', echo=True)
    assert said.status == 200
    messages = said.body['messages']
    assert [message['id'] for message in messages] == ids
    assert messages[0]['age'] >= 0
    del messages[0]['age']
    assert messages[0] == {
        'id': ids[0],
        'claim_id': None,
        'ttl': 600,
        'body': {'a': [1, None, 'é']},
    }


def test_messages_are_paged_without_a_gap(talk: Talk) -> None:
    talk.post('q', *range(5))
    bodies: list[Any] = []
    query: dict[str, Any] = {'limit': 2, 'echo': True}
    for _ in range(9):
        page = talk.ask('message_list', queue_name='q', **query).body
        bodies += [message['body'] for message in page['messages']]
        if 'marker' not in page:
            break
        query['marker'] = page['marker']
    assert bodies == list(range(5))


def test_ones_own_messages_are_hidden_unless_asked_for(talk: Talk) -> None:
    talk.post('q', 1)
    assert talk.ask('message_list', queue_name='q').body['messages'] == []
    other = {'Client-ID': OTHER_CLIENT}
    said = talk.ask('message_list', {'queue_name': 'q'}, other)
    assert len(said.body['messages']) == 1


def test_claimed_messages_show_their_claim(talk: Talk) -> None:
    talk.post('q', 1, 2)
    claim = talk.ask('claim_create', queue_name='q', limit=1).body['claim_id']
    assert talk.bodies('q') == [2]
    said = talk.ask(
        'message_list', queue_name='q', echo=True, include_claimed=True
    )
    claims = [message['claim_id'] for message in said.body['messages']]
    assert claims == [claim, None]


def test_delays_hold_here_too(talk: Talk) -> None:
    metadata = {'_default_message_delay': 10}
    talk.ask('queue_create', queue_name='q', metadata=metadata)
    talk.post('q', 1, delay=600)
    claimed = talk.ask('claim_create', queue_name='q')
    assert (claimed.status, claimed.body) == (204, {'claim_id': None})


def test_one_message_stands_under_a_plural_key(talk: Talk) -> None:
    (message_id,) = talk.post('q', 'x')
    said = talk.ask('message_get', queue_name='q', message_id=message_id)
    assert said.status == 200
    assert said.body['messages']['body'] == 'x'
    absent = talk.ask('message_get', queue_name='q', message_id='nothing')
    assert absent.is_error(404)


def test_several_messages_by_id(talk: Talk) -> None:
    ids = talk.post('q', 1, 2, 3)
    wanted = [ids[2], 'unknown', ids[0]]
    said = talk.ask('message_get_many', queue_name='q', message_ids=wanted)
    assert said.status == 200
    assert [message['body'] for message in said.body['messages']] == [1, 3]
    none = talk.ask('message_get_many', queue_name='q', message_ids=['x'])
    assert (none.status, none.body) == (200, {'messages': []})
    for wrong in ({}, {'message_ids': []}, {'message_ids': ['x'] * 21}):
        said = talk.ask('message_get_many', {'queue_name': 'q', **wrong})
        assert said.is_error(400)


def test_deletions(talk: Talk) -> None:
    first, second = talk.post('q', 1, 2)
    done = talk.ask('message_delete', queue_name='q', message_id=first)
    assert (done.status, done.body) == (204, {})
    again = talk.ask('message_delete', queue_name='q', message_id=first)
    assert again.status == 204
    unclaimed = talk.ask(
        'message_delete', queue_name='q', message_id=second, claim_id='x'
    )
    assert unclaimed.is_error(400)
    claim = talk.ask('claim_create', queue_name='q').body['claim_id']
    held = talk.ask('message_delete', queue_name='q', message_id=second)
    assert held.is_error(403)
    done = talk.ask(
        'message_delete', queue_name='q', message_id=second, claim_id=claim
    )
    assert done.status == 204


def test_several_are_deleted_or_popped(talk: Talk) -> None:
    ids = talk.post('q', 1, 2, 3)
    done = talk.ask(
        'message_delete_many', queue_name='q', message_ids=[ids[0], 'x']
    )
    assert (done.status, done.body) == (204, {})
    popped = talk.ask('message_delete_many', queue_name='q', pop=1)
    assert popped.status == 200
    (message,) = popped.body['messages']
    assert message.pop('age') >= 0
    assert message == {
        'id': ids[1],
        'ttl': 3600,
        'body': 2,
        'claim_id': None,
        'claim_count': 0,
    }
    for wrong in ({}, {'message_ids': ids, 'pop': 1}, {'pop': 0}):
        said = talk.ask('message_delete_many', {'queue_name': 'q', **wrong})
        assert said.is_error(400)


def test_claims(talk: Talk) -> None:
    nothing = talk.ask('claim_create', queue_name='q')
    assert (nothing.status, nothing.body) == (204, {'claim_id': None})
    ids = talk.post('q', 1, 2)
    answer = talk.ask(
        'claim_create', queue_name='q', ttl=90, grace=60, limit=1
    )
    assert answer.status == 201
    claim = answer.body['claim_id']
    (message,) = answer.body['messages']
    assert (message['id'], message['claim_id']) == (ids[0], claim)
    shown = talk.ask('claim_get', queue_name='q', claim_id=claim)
    assert shown.status == 200
    assert set(shown.body) == {'age', 'ttl', 'messages'}
    assert shown.body['ttl'] == 90
    renewed = talk.ask('claim_update', queue_name='q', claim_id=claim)
    assert (renewed.status, type(renewed.body)) == (204, str)
    shown = talk.ask('claim_get', queue_name='q', claim_id=claim)
    assert shown.body['ttl'] == 300
    free = talk.ask('claim_delete', queue_name='q', claim_id=claim)
    assert (free.status, type(free.body)) == (204, str)
    assert talk.ask('claim_delete', queue_name='q', claim_id=claim).status == (
        204
    )
    for action in ('claim_get', 'claim_update'):
        gone = talk.ask(action, queue_name='q', claim_id=claim)
        assert gone.is_error(404)
    assert talk.ask('claim_create', queue_name='q', ttl=1).is_error(400)


def test_subscriptions(talk: Talk) -> None:
    body = {'queue_name': 'q', 'subscriber': 'http://example.com/a'}
    answer = talk.ask('subscription_create', {**body, 'ttl': 60})
    assert answer.status == 201
    assert set(answer.body) == {'subscription_id', 'message'}
    item = {
        'queue_name': 'q',
        'subscription_id': answer.body['subscription_id'],
    }
    again = talk.ask('subscription_create', body)
    assert again.status == 201
    assert again.body['subscription_id'] == item['subscription_id']
    shown = talk.ask('subscription_get', item)
    assert shown.status == 200
    assert set(shown.body) == {
        'id',
        'source',
        'subscriber',
        'ttl',
        'age',
        'options',
        'confirmed',
    }
    page = talk.ask('subscription_list', queue_name='q', limit=1).body
    assert page['marker'] == item['subscription_id']
    assert len(page['subscriptions']) == 1
    updated = talk.ask('subscription_update', {**item, 'ttl': 90})
    assert (updated.status, type(updated.body)) == (204, str)
    assert talk.ask('subscription_get', item).body['ttl'] == 90
    said = talk.ask('subscription_confirm', {**item, 'confirmed': True})
    assert (said.status, type(said.body)) == (204, str)
    taken = talk.ask('subscription_create', body)
    assert (taken.status, type(taken.body)) == (409, str)
    gone = talk.ask('subscription_delete', item)
    assert (gone.status, type(gone.body)) == (204, str)
    assert talk.ask('subscription_delete', item).status == 204
    assert talk.ask('subscription_get', item).is_error(404)


@pytest.mark.parametrize('subscriber', ['websocket://node/id', 'x', 'ftp://a'])
def test_subscribers_are_those_of_http(talk: Talk, subscriber: str) -> None:
    said = talk.ask(
        'subscription_create', queue_name='q', subscriber=subscriber
    )
    assert said.is_error(400)


def test_topics(talk: Talk) -> None:
    assert talk.ask('topic_create', topic_name='t').status == 201
    said = talk.ask(
        'topic_message_post', topic_name='t', messages=[{'body': 1}]
    )
    assert said.status == 201
    listed = talk.ask('topic_message_list', topic_name='t', echo=True)
    assert [item['body'] for item in listed.body['messages']] == [1]
    assert talk.ask('topic_list').body == {
        'topics': [{'name': 't'}],
        'marker': 't',
    }
    stats = talk.ask('topic_get_stats', topic_name='t').body['messages']
    assert stats['total'] == 1
    assert 'claimed' not in stats
    assert talk.ask('queue_list').body == {'queues': []}
    assert talk.ask('topic_delete', topic_name='t').status == 204


def test_a_url_is_made_and_used_over_http(talk: Talk, server: Zaqar) -> None:
    talk.post('q', 'x')
    said = talk.ask('queue_share', queue_name='q', paths=['messages'])
    assert said.status == 200
    assert talk.ask('queue_share', queue_name='q', paths=['x']).is_error(400)
    grant = said.body
    headers = {
        'Client-ID': OTHER_CLIENT,
        'X-Project-ID': grant['project'],
        'URL-Signature': grant['signature'],
        'URL-Expires': grant['expires'],
        'URL-Methods': ','.join(grant['methods']),
        'URL-Paths': ','.join(grant['paths']),
    }
    answer = requests.get(
        server.url + grant['paths'][0], headers=headers, timeout=30
    )
    assert answer.json()['messages'][0]['body'] == 'x'


def test_a_connection_subscribed_by_a_url_is_pushed_no_longer_than_it_lasts(
    talk: Talk,
) -> None:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=999)
    said = talk.ask(
        'queue_share',
        queue_name='q',
        paths=['subscriptions'],
        methods=['POST'],
        expires=end.isoformat(),
    )
    grant = said.body
    headers = {
        'URL-Signature': grant['signature'],
        'URL-Expires': grant['expires'],
        'URL-Methods': grant['methods'],
        'URL-Paths': grant['paths'],
    }
    body = {'queue_name': 'q', 'ttl': 10**9}
    answer = talk.ask('subscription_create', body, headers)
    assert answer.status == 201
    (shown,) = talk.ask('subscription_list', queue_name='q').body[
        'subscriptions'
    ]
    assert shown['subscriber'].startswith('websocket:')
    assert 960 <= shown['ttl'] <= 999


@pytest.mark.parametrize('nothing', [None, [], '', {}])
def test_whatever_is_empty_means_the_defaults_of_a_url(
    talk: Talk, nothing: Any
) -> None:
    body = {'queue_name': 'q', 'paths': nothing, 'methods': nothing}
    talk.ask('queue_create', queue_name='q')
    for version in ({}, {HEADER: V2_1.header}):
        said = talk.ask('queue_share', body, version)
        assert said.status == 200
        assert said.body['paths'] == ['/v2/queues/q/messages']
        assert said.body['methods'] == ['GET']


def test_pools_and_flavors_are_for_administrators(talk: Talk) -> None:
    name = f'p{secrets.token_hex(8)}'
    pool = {'pool_name': name, 'weight': 10, 'uri': 'sqlite:////tmp/x'}
    assert talk.ask('pool_create', pool).is_error(403)
    assert talk.ask('pool_list').is_error(403)
    missing = talk.ask('pool_get', {'pool_name': name}, ADMIN)
    assert missing.is_error(404)
    wrong = talk.ask('pool_create', {**pool, 'weight': 'x'}, ADMIN)
    assert wrong.is_error(400)
    assert 'pools' in talk.ask('pool_list', headers=ADMIN).body
    flavor = {'flavor_name': name, 'pool_list': [name]}
    assert talk.ask('flavor_create', flavor, ADMIN).is_error(400)
    assert talk.ask('flavor_list').body == {'flavors': []}


def test_a_pool_comes_and_goes(talk: Talk, server: Zaqar) -> None:
    name = f'p{secrets.token_hex(8)}'
    uri = f'sqlite:///{server.folder}/{name}.sqlite'
    answer = talk.ask(
        'pool_create', {'pool_name': name, 'weight': 0, 'uri': uri}, ADMIN
    )
    assert (answer.status, type(answer.body)) == (201, str)
    shown = talk.ask('pool_get', {'pool_name': name, 'detailed': True}, ADMIN)
    assert shown.body['weight'] == 0
    assert 'options' in shown.body
    changed = talk.ask('pool_update', {'pool_name': name, 'weight': 5}, ADMIN)
    assert changed.body['weight'] == 5
    flavor = {'flavor_name': name, 'pool_list': [name]}
    assert talk.ask('flavor_create', flavor, ADMIN).status == 201
    assert talk.ask('flavor_get', {'flavor_name': name}).body['name'] == name
    assert talk.ask('pool_delete', {'pool_name': name}, ADMIN).is_error(403)
    flavor = {'flavor_name': name}
    assert talk.ask('flavor_delete', flavor, ADMIN).status == 204
    assert talk.ask('pool_delete', {'pool_name': name}, ADMIN).status == 204


def test_the_service_tells_what_it_is_and_how(talk: Talk) -> None:
    home = talk.ask('get_home_doc')
    assert home.status == 200
    assert 'rel/queues' in home.body['resources']
    assert talk.ask('ping_node').status == 204
    assert talk.ask('check_node_health').is_error(403)
    health = talk.ask('check_node_health', headers=ADMIN)
    assert health.status == 200
    assert 'catalog_reachable' in health.body


def test_authentication_is_fine_where_none_is_needed(talk: Talk) -> None:
    said = talk.ask('authenticate', headers={'X-Auth-Token': 'any'})
    assert said.status == 200
    assert set(said.body) == {'message'}
    assert said.request == {
        'action': 'authenticate',
        'body': {},
        'headers': {},
        'api': 'v2',
    }
    without = talk.ask('authenticate')
    assert without.is_error(400, 'X-Auth-Token')


def _answers(talk: Talk, action: str, body: Any, **headers: Any) -> Said:
    return talk.ask(action, body, headers)


@pytest.mark.parametrize(
    'action',
    sorted(row.name for row in operation_table.OPERATIONS if row.rule.name),
)
def test_each_action_answers_whatever_it_is_given(
    talk: Talk, action: str
) -> None:
    names = ('queue_name', 'topic_name', 'message_id', 'claim_id')
    names += ('subscription_id', 'stream_id', 'pool_name', 'flavor_name')
    whole = dict.fromkeys(names, 'q')
    for body in ({}, whole, {**whole, 'queue_name': 'not a name'}):
        said = talk.ask(action, body)
        assert 200 <= said.status < 500, said
    unknown = talk.ask(action, whole, {'Client-ID': None})
    assert unknown.is_error(400)
    unknown = talk.ask(action, whole, {'X-Project-ID': None})
    assert unknown.is_error(400)
    unknown = talk.ask(action, whole, {'Client-ID': 'short'})
    assert unknown.is_error(400)
