# SPDX-License-Identifier: Apache-2.0
"""Subscriptions in templates."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.tests.functional.heat.stacks import Refused, User
from zaqar.tests.functional.keystone.callers import queue_name

HOOK = 'https://ops.example.org/hook'
FOR_EVER = 220367260800


def subscribed(**properties: Any) -> dict[str, Any]:
    """Return the resources of a template with one subscription."""
    fields = {'subscriber': HOOK, **properties}
    return {'s': {'type': 'OS::Zaqar::Subscription', 'properties': fields}}


def subscriptions(user: User, queue: str) -> list[dict[str, Any]]:
    """Return the subscriptions of a queue."""
    path = f'/v2/queues/{queue}/subscriptions'
    listed: list[dict[str, Any]] = user.zaqar.ask('GET', path).json()[
        'subscriptions'
    ]
    return listed


def test_a_subscription_has_the_options_of_its_template(user: User) -> None:
    queue = queue_name()
    stack = user.done(
        subscribed(
            queue_name=queue,
            options={'from': 'zaqar@example.org', 'free': 1},
            post_headers={'X-Kind': 'test'},
            post_data='{"it": "$zaqar_message$"}',
            filter={'kind': ['a', {'prefix': 'b'}]},
            retry_policy={'retries_with_no_delay': 1},
        )
    )
    (subscription,) = subscriptions(user, queue)
    assert subscription['id'] == stack.id_of('s')
    assert (subscription['subscriber'], subscription['ttl']) == (
        HOOK,
        FOR_EVER,
    )
    assert subscription['options'] == {
        'from': 'zaqar@example.org',
        'free': 1,
        'post_headers': {'X-Kind': 'test'},
        'post_data': '{"it": "$zaqar_message$"}',
        '_filter': {'kind': ['a', {'prefix': 'b'}]},
        '_retry_policy': {'retries_with_no_delay': 1},
    }


def test_a_subscription_without_options_has_none(user: User) -> None:
    queue = queue_name()
    user.done(subscribed(queue_name=queue))
    assert subscriptions(user, queue)[0]['options'] == {}


def test_a_subscription_is_updated_in_place_replaced_and_deleted(
    user: User,
) -> None:
    first, second = queue_name(), queue_name()
    stack = user.done(subscribed(queue_name=first, mail_subject='News'))
    first_id = stack.id_of('s')
    other = 'mailto:ops@example.org'
    stack.updated(subscribed(queue_name=first, subscriber=other, ttl=600))
    (subscription,) = subscriptions(user, first)
    assert (subscription['id'], stack.id_of('s')) == (first_id, first_id)
    assert (subscription['subscriber'], subscription['ttl']) == (other, 600)
    assert subscription['options'] == {}

    stack.updated(subscribed(queue_name=second))
    assert subscriptions(user, first) == []
    (subscription,) = subscriptions(user, second)
    assert subscription['id'] == stack.id_of('s') != first_id

    stack.deleted()
    assert subscriptions(user, second) == []


def test_attributes_tell_whether_it_is_confirmed(user: User) -> None:
    queue = queue_name()
    stack = user.done(subscribed(queue_name=queue))
    path = f'/v2/queues/{queue}/subscriptions/{stack.id_of("s")}/confirm'
    assert stack.attribute('s', 'confirmed') is False
    user.zaqar.ask('PUT', path, json={'confirmed': True})
    assert stack.attribute('s', 'confirmed') is True
    assert stack.attribute('s', 'age') >= 0
    assert stack.attribute('s', 'show')['subscriber'] == HOOK


def test_a_subscriber_that_was_there_gets_the_settings(user: User) -> None:
    queue = queue_name()
    path = f'/v2/queues/{queue}/subscriptions'
    user.zaqar.ask('POST', path, json={'subscriber': HOOK, 'ttl': 300})
    user.done(subscribed(queue_name=queue, ttl=900, mail_subject='News'))
    (subscription,) = subscriptions(user, queue)
    assert (subscription['ttl'], subscription['options']) == (
        900,
        {'subject': 'News'},
    )


def test_events_tell_of_a_subscriber_that_is_taken(user: User) -> None:
    queue = queue_name()
    path = f'/v2/queues/{queue}/subscriptions'
    subscription = user.zaqar.ask(
        'POST', path, json={'subscriber': HOOK}
    ).json()
    confirm = f'{path}/{subscription["subscription_id"]}/confirm'
    user.zaqar.ask('PUT', confirm, json={'confirmed': True})
    stack = user.create(subscribed(queue_name=queue))
    reason = stack.fails('CREATE_FAILED')
    assert '409' in reason
    assert 'already exists' in reason
    stack.deleted()
    assert len(subscriptions(user, queue)) == 1


def test_a_subscription_that_is_gone_is_found_missing_and_made_again(
    user: User,
) -> None:
    queue = queue_name()
    template = subscribed(queue_name=queue)
    stack = user.done(template)
    path = f'/v2/queues/{queue}/subscriptions/{stack.id_of("s")}'
    user.zaqar.ask('DELETE', path)
    assert '404' in stack.check().fails('CHECK_FAILED')
    stack.updated(template)
    (subscription,) = subscriptions(user, queue)
    assert subscription['id'] == stack.id_of('s')
    user.zaqar.ask('DELETE', f'{path.rpartition("/")[0]}/{subscription["id"]}')
    stack.deleted()


def test_the_queue_may_be_given_by_its_link_or_its_resource(
    user: User,
) -> None:
    resources = {
        'q': {'type': 'OS::Zaqar::Queue'},
        **subscribed(queue_name={'get_attr': ['q', 'href']}),
    }
    stack = user.done(resources)
    queue = stack.id_of('q')
    assert [s['id'] for s in subscriptions(user, queue)] == [stack.id_of('s')]
    # The same queue, said in another way: nothing is replaced.
    first = stack.id_of('s')
    resources |= subscribed(queue_name={'get_resource': 'q'})
    stack.updated(resources)
    assert stack.id_of('s') == first


def test_a_queue_that_is_only_named_is_made_first(user: User) -> None:
    name = queue_name()
    stack = user.done(
        {
            'q': {'type': 'OS::Zaqar::Queue', 'properties': {'name': name}},
            **subscribed(queue_name=name),
        }
    )
    assert stack.resource('q')['required_by'] == ['s']
    # So it was the stack that made it, and not the subscription.
    stack.deleted()
    assert not user.zaqar.owns(name)


@pytest.mark.parametrize(
    ('properties', 'text'),
    [
        ({'subscriber': 'ftp://ops.example.org'}, 'not a URI with one of'),
        ({'subscriber': 'https://'}, 'not a URI with one of'),
        ({'queue_name': 'two words'}, 'not a valid queue name'),
        ({'ttl': 59}, 'out of range'),
        ({'options': {'from': 'a'}, 'mail_from': 'b'}, 'mail_from'),
        ({'retry_policy': {'maximum_delay': 9}}, 'must exceed'),
    ],
)
def test_a_faulty_template_is_refused_at_once(
    user: User, properties: dict[str, Any], text: str
) -> None:
    with pytest.raises(Refused, match=text):
        user.create(subscribed(**{'queue_name': 'jobs', **properties}))
