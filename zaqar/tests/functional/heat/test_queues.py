# SPDX-License-Identifier: Apache-2.0
"""Queues in templates."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from zaqar.api import json_schema_parts, microversion_negotiation
from zaqar.tests.functional.heat.stacks import Refused, User
from zaqar.tests.functional.keystone.callers import queue_name


def queue(**properties: Any) -> dict[str, Any]:
    """Return the resources of a template with one queue."""
    return {'q': {'type': 'OS::Zaqar::Queue', 'properties': properties}}


def metadata(user: User, name: str) -> dict[str, Any]:
    """Return the metadata of a queue."""
    shown: dict[str, Any] = user.zaqar.ask('GET', f'/v2/queues/{name}').json()
    return shown


def test_a_queue_has_the_settings_of_its_template(user: User) -> None:
    stack = user.done(
        queue(
            metadata={'owner': 'ops', '_odd/key~': [1]},
            default_message_ttl=600,
            default_message_delay=5,
            dead_letter_queue='rejects',
            dead_letter_queue_ttl=3600,
            max_claim_count=3,
            max_messages=500,
            default_claim_ttl=15,
            default_wait=20,
            dedup_window=60,
            max_messages_post_size=1000,
            encrypt_messages=False,
            retry_policy={'minimum_delay': 10, 'maximum_delay': 60},
        )
    )
    name = stack.id_of('q')
    assert user.zaqar.owns(name)
    shown = metadata(user, name)
    # All that the service reserves but the flavor, which needs one, and what
    # clients of Amazon SQS set.
    reserved = {
        name
        for name in json_schema_parts.METADATA['properties']
        if not name.startswith('sqs_')
    }
    assert reserved - set(shown) == {'_flavor'}
    assert shown == {
        'owner': 'ops',
        '_odd/key~': [1],
        '_default_message_ttl': 600,
        '_default_message_delay': 5,
        '_dead_letter_queue': 'rejects',
        '_dead_letter_queue_messages_ttl': 3600,
        '_max_claim_count': 3,
        '_max_messages': 500,
        '_default_claim_ttl': 15,
        '_default_wait': 20,
        '_dedup_window': 60,
        '_max_messages_post_size': 1000,
        '_enable_encrypt_messages': False,
        '_retry_policy': {'minimum_delay': 10, 'maximum_delay': 60},
    }


def test_settings_of_newer_versions_are_updated_and_removed(
    user: User,
) -> None:
    stack = user.done(queue(default_claim_ttl=15, dedup_window=60))
    name = stack.id_of('q')
    stack.updated(queue(default_claim_ttl=20, default_wait=5))
    headers = {'OpenStack-API-Version': 'messaging 2.1'}
    path = f'/v2/queues/{name}'
    shown = user.zaqar.ask('GET', path, headers).json()
    assert (shown['_default_claim_ttl'], shown['_default_wait']) == (20, 5)
    assert shown.get('_dedup_window') != 60
    stack.updated(queue())
    assert not {'_default_claim_ttl', '_default_wait', '_dedup_window'} & set(
        metadata(user, name)
    )


@pytest.mark.parametrize('name', ['default_claim_ttl', 'default_wait'])
def test_settings_of_newer_versions_are_checked(user: User, name: str) -> None:
    reason = user.create(queue(**{name: 10**6})).fails('CREATE_FAILED')
    assert f'_{name} can not exceed' in reason


def test_a_queue_is_updated_in_place_replaced_and_deleted(user: User) -> None:
    first, second = queue_name(), queue_name()
    stack = user.done(
        queue(name=first, metadata={'a': 1, 'b': 2}, max_claim_count=3)
    )
    user.zaqar.post(first)
    before = metadata(user, first)
    stack.updated(queue(name=first, metadata={'b': 3, 'c': 4}))
    after = metadata(user, first)
    assert stack.id_of('q') == first
    assert before['_max_claim_count'] == 3
    assert after['_max_claim_count'] is None
    assert (after.get('a'), after['b'], after['c']) == (None, 3, 4)
    assert stack.attribute('q', 'stats')['total'] == 1

    stack.updated(queue(name=first))
    assert not {'b', 'c'} & set(metadata(user, first))

    stack.updated(queue(name=second))
    assert stack.id_of('q') == second
    assert (user.zaqar.owns(first), user.zaqar.owns(second)) == (False, True)

    stack.deleted()
    assert not user.zaqar.owns(second)


def test_attributes_tell_where_the_queue_is(user: User) -> None:
    stack = user.done(queue())
    assert stack.attribute('q', 'queue_id') == stack.id_of('q')
    href = stack.attribute('q', 'href')
    assert href == f'{user.zaqar.origin}/v2/queues/{stack.id_of("q")}'
    path = href.removeprefix(user.zaqar.origin)
    newest = {
        microversion_negotiation.HEADER: microversion_negotiation.MAX.header
    }
    shown = user.zaqar.ask('GET', path, newest).json()
    assert stack.attribute('q', 'show') == shown
    command = stack.attribute('q', 'curl_cli')
    subprocess.run(
        ['bash', '-c', f'{command} --fail'],
        env={**os.environ, 'OS_TOKEN': str(user.zaqar.token)},
        check=True,
        capture_output=True,
    )
    assert stack.attribute('q', 'stats')['free'] == 1


def test_a_queue_that_was_there_is_adopted_and_stays(user: User) -> None:
    name = queue_name()
    path = f'/v2/queues/{name}'
    user.zaqar.ask('PUT', path, json={'owner': 'ops', 'tier': 1})
    stack = user.done(queue(name=name, metadata={'tier': 2}))
    shown = metadata(user, name)
    assert (shown['owner'], shown['tier']) == ('ops', 2)
    stack.deleted()
    assert user.zaqar.owns(name)


@pytest.mark.parametrize('how', ['keep', 'delete'])
def test_a_template_may_say_what_deletion_does(user: User, how: str) -> None:
    name = queue_name()
    if how == 'delete':
        user.zaqar.make(name)
    user.done(queue(name=name, on_delete=how)).deleted()
    assert user.zaqar.owns(name) == (how == 'keep')


def test_a_queue_that_is_gone_is_found_missing_and_made_again(
    user: User,
) -> None:
    template = queue(metadata={'a': 1})
    stack = user.done(template)
    name = stack.id_of('q')
    user.zaqar.ask('DELETE', f'/v2/queues/{name}')
    assert 'does not exist' in stack.check().fails('CHECK_FAILED')
    stack.updated(template)
    assert user.zaqar.owns(name)
    assert (stack.id_of('q'), metadata(user, name)['a']) == (name, 1)
    stack.deleted()
    assert not user.zaqar.owns(name)


def test_a_queue_that_is_gone_is_deleted_with_success(user: User) -> None:
    stack = user.done(queue())
    user.zaqar.ask('DELETE', f'/v2/queues/{stack.id_of("q")}')
    stack.deleted()


def test_events_tell_what_the_service_refuses(user: User) -> None:
    stack = user.create(queue(encrypt_messages=True))
    reason = stack.fails('CREATE_FAILED')
    assert 'Zaqar answered 400 to PUT' in reason
    assert 'no encryption key' in reason
    assert any('400 to PUT' in text for text in stack.reasons('q'))
    stack.updated(queue(encrypt_messages=False))
    assert user.zaqar.owns(stack.id_of('q'))


def test_an_update_that_fails_is_mended_in_place(user: User) -> None:
    stack = user.done(queue(metadata={'a': 1}))
    name = stack.id_of('q')
    user.zaqar.post(name)
    reason = stack.update(queue(encrypt_messages=True)).fails('UPDATE_FAILED')
    assert 'no encryption key' in reason
    stack.updated(queue(metadata={'b': 1}))
    shown = metadata(user, name)
    assert (stack.id_of('q'), shown.get('a'), shown['b']) == (name, None, 1)
    assert stack.attribute('q', 'stats')['total'] == 1


@pytest.mark.parametrize(
    ('properties', 'text'),
    [
        (
            {'max_claim_count': 1, 'metadata': {'_max_claim_count': 2}},
            'max_claim_count',
        ),
        ({'max_messages': -1}, 'out of range'),
        ({'name': 'two words'}, 'does not match pattern'),
        ({'name': 'x' * 65}, 'length'),
        ({'default_message_ttl': 59}, 'out of range'),
        ({'dead_letter_queue': 'two words'}, 'not a valid queue name'),
        ({'retry_policy': {'minimum_delay': 25}}, 'must exceed'),
        ({'on_delete': 'perhaps'}, 'not an allowed value'),
    ],
)
def test_a_faulty_template_is_refused_at_once(
    user: User, properties: dict[str, Any], text: str
) -> None:
    with pytest.raises(Refused, match=text):
        user.create(queue(**properties))


def test_the_dead_letter_queue_may_be_given_by_its_link(user: User) -> None:
    resources = {
        'rejects': {'type': 'OS::Zaqar::Queue'},
        'q': {
            'type': 'OS::Zaqar::Queue',
            'properties': {
                'dead_letter_queue': {'get_attr': ['rejects', 'href']}
            },
        },
    }
    stack = user.done(resources)
    shown = metadata(user, stack.id_of('q'))
    assert shown['_dead_letter_queue'] == stack.id_of('rejects')
