# SPDX-License-Identifier: Apache-2.0
"""Topics in templates."""

from __future__ import annotations

from typing import Any

from zaqar.tests.functional.heat.stacks import User
from zaqar.tests.functional.keystone.callers import queue_name


def topic(**properties: Any) -> dict[str, Any]:
    """Return the resources of a template with one topic."""
    return {'t': {'type': 'OS::Zaqar::Topic', 'properties': properties}}


def topics(user: User) -> list[str]:
    """Return the names of the topics of a project."""
    page = user.zaqar.ask('GET', '/v2/topics?limit=20').json()
    return [item['name'] for item in page['topics']]


def test_a_topic_is_made_updated_in_place_replaced_and_deleted(
    user: User,
) -> None:
    first, second = queue_name(), queue_name()
    stack = user.done(
        topic(
            name=first,
            metadata={'a': 1},
            default_message_ttl=600,
            retry_policy={'retries_with_no_delay': 1},
        )
    )
    path = f'/v2/topics/{first}'
    metadata = user.zaqar.ask('GET', path).json()
    assert (metadata['a'], metadata['_default_message_ttl']) == (1, 600)
    assert metadata['_retry_policy'] == {'retries_with_no_delay': 1}

    stack.updated(topic(name=first, metadata={'b': 2}))
    changed = user.zaqar.ask('GET', path).json()
    assert stack.id_of('t') == first
    assert changed['b'] == 2
    assert changed['_default_message_ttl'] == 3600
    assert not {'a', '_retry_policy'} & set(changed)
    assert stack.attribute('t', 'stats')['total'] == 0
    assert stack.attribute('t', 'href') == user.zaqar.origin + path

    stack.updated(topic(name=second))
    assert (first in topics(user), second in topics(user)) == (False, True)
    stack.deleted()
    assert second not in topics(user)
