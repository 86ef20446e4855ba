# SPDX-License-Identifier: Apache-2.0
"""Updates of a Heat that looks at what is there first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.tests.functional.heat.stacks import Stack, User
from zaqar.tests.functional.keystone.callers import queue_name
from zaqar.tests.servers.heat import Heat

PATCH = {'Content-Type': 'application/openstack-messaging-v2.0-json-patch'}
HOOK = 'https://ops.example.org/hook'


def template(title: str) -> dict[str, Any]:
    """Return resources of which one is the same in every template.

    :param title: what the others differ in
    """
    same = {'metadata': {'a': 1}, 'max_claim_count': 2}
    subscribed = {
        'queue_name': {'get_resource': 'q'},
        'subscriber': HOOK,
        'mail_subject': 'News',
    }
    return {
        'q': {'type': 'OS::Zaqar::Queue', 'properties': same},
        't': {'type': 'OS::Zaqar::Topic'},
        's': {'type': 'OS::Zaqar::Subscription', 'properties': subscribed},
        'other': {
            'type': 'OS::Zaqar::Queue',
            'properties': {'metadata': {'title': title}},
        },
    }


def ids(stack: Stack) -> list[str]:
    """Return what the resources are called outside Heat."""
    return [stack.id_of(name) for name in ('q', 't', 's', 'other')]


@pytest.fixture(scope='module', autouse=True)
def observing(heat: Heat) -> Iterator[None]:
    """Let Heat observe."""
    with heat.observing():
        yield


def test_an_update_sets_right_what_others_have_changed(user: User) -> None:
    stack = user.done(template('first'))
    first = ids(stack)
    queue = f'/v2/queues/{first[0]}'
    steps = [
        {'op': 'replace', 'path': '/metadata/a', 'value': 2},
        {'op': 'add', 'path': '/metadata/b', 'value': 3},
        {'op': 'remove', 'path': '/metadata/_max_claim_count'},
    ]
    user.zaqar.ask('PATCH', queue, PATCH, json=steps)
    subscription = f'{queue}/subscriptions/{first[2]}'
    user.zaqar.ask('PATCH', subscription, json={'ttl': 600, 'options': {}})
    stack.updated(template('second'))
    shown = user.zaqar.ask('GET', queue).json()
    mended = user.zaqar.ask('GET', subscription).json()
    assert ids(stack) == first
    assert (shown['a'], shown.get('b')) == (1, None)
    assert shown['_max_claim_count'] == 2
    assert mended['options'] == {'subject': 'News'}
    assert mended['ttl'] > 600


def test_an_update_makes_again_what_others_have_deleted(user: User) -> None:
    name = queue_name()
    resources = {
        'q': {'type': 'OS::Zaqar::Queue', 'properties': {'name': name}}
    }
    stack = user.done(resources)
    user.zaqar.ask('DELETE', f'/v2/queues/{name}')
    stack.updated(resources)
    assert user.zaqar.owns(name)
    stack.deleted()
    assert not user.zaqar.owns(name)


def test_other_metadata_of_an_adopted_queue_stays(user: User) -> None:
    name = queue_name()
    path = f'/v2/queues/{name}'
    user.zaqar.ask('PUT', path, json={'owner': 'ops'})

    def adopted(tier: int) -> dict[str, Any]:
        properties = {'name': name, 'metadata': {'tier': tier}}
        return {'q': {'type': 'OS::Zaqar::Queue', 'properties': properties}}

    stack = user.done(adopted(1))
    stack.updated(adopted(2))
    shown = user.zaqar.ask('GET', path).json()
    assert (shown['owner'], shown['tier']) == ('ops', 2)
