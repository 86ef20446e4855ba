# SPDX-License-Identifier: Apache-2.0
"""Stacks that wait for signals, which anybody posts by curl."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import requests

from zaqar.tests.functional.heat.stacks import Stack, User, until
from zaqar.tests.functional.keystone.callers import queue_name
from zaqar.tests.servers.heat import Heat
from zaqar.tests.servers.zaqar import Zaqar


def waiting(name: str | None = None, **properties: Any) -> dict[str, Any]:
    """Return the resources of a template that waits for signals."""
    signal = {'name': name} if name else {}
    wait = {'signal': {'get_resource': 'signal'}, 'timeout': 300, **properties}
    return {
        'signal': {'type': 'OS::Zaqar::Signal', 'properties': signal},
        'wait': {'type': 'OS::Zaqar::SignalWait', 'properties': wait},
    }


def curl(stack: Stack, body: str | None = None, **signal: Any) -> None:
    """Post a signal by the command of the stack, and nothing else.

    :param body: the whole request
    :param signal: body of a message, otherwise
    """
    document = body or json.dumps({'messages': [{'body': signal}]})
    command = f"{when_there(stack, 'curl_cli')} --data-binary '{document}'"
    subprocess.run(['bash', '-c', command], check=True, capture_output=True)


def when_there(stack: Stack, attribute: str) -> Any:
    """Return an attribute of the signal once it is made."""
    return until(
        lambda: stack.attribute('signal', attribute), f'{attribute} of signal'
    )


def test_a_stack_goes_on_when_two_signals_have_come(user: User) -> None:
    stack = user.create(
        waiting(count=2), outputs={'data': {'get_attr': ['wait', 'data']}}
    )
    curl(stack, id='web-1', status='SUCCESS', data={'port': 80})
    until(lambda: stack.attribute('wait', 'data'), 'the first signal')
    # A repetition does not count, but takes the place of the first.
    curl(stack, id='web-1', status='SUCCESS', data={'port': 81})
    until(
        lambda: stack.attribute('wait', 'data')['web-1'] == {'port': 81},
        'the repetition',
    )
    assert stack.show()['stack_status'] == 'CREATE_IN_PROGRESS'
    curl(stack, id='web-2', status='SUCCESS', data=[1], reason='done')
    stack.reaches('CREATE_COMPLETE')
    assert stack.output('data')['web-2'] == [1]
    assert stack.output('data')['web-1'] == {'port': 81}
    assert stack.attribute('wait', 'reasons')['web-2'] == 'done'
    stack.deleted()


def test_ready_made_bodies_count_one_each(user: User) -> None:
    stack = user.create(waiting(count=2))
    body = when_there(stack, 'body_success')
    curl(stack, body)
    curl(stack, body)
    stack.reaches('CREATE_COMPLETE')


def test_a_signal_is_one_request_without_credentials(user: User) -> None:
    stack = user.create(waiting())
    answer = requests.post(
        when_there(stack, 'endpoint'),
        headers=stack.attribute('signal', 'headers'),
        data=stack.attribute('signal', 'body_success'),
        timeout=60,
    )
    assert answer.status_code == 201
    stack.reaches('CREATE_COMPLETE')


def test_the_url_is_good_for_posting_and_nothing_else(user: User) -> None:
    stack = user.create(waiting())
    url = when_there(stack, 'endpoint')
    headers = stack.attribute('signal', 'headers')
    assert requests.get(url, headers=headers, timeout=60).status_code == 404
    gone = requests.delete(f'{url}/1', headers=headers, timeout=60)
    assert gone.status_code == 404
    stack.deleted()


def test_a_failure_fails_the_stack_with_its_reason(user: User) -> None:
    stack = user.create(waiting(count=2))
    curl(stack, id='web-1', status='SUCCESS', data=1)
    curl(stack, id='web-2', status='FAILURE', reason='disk full')
    reason = stack.fails('CREATE_FAILED')
    assert 'SignalFailure' in reason
    assert 'web-2 signals failure: disk full' in reason
    assert any('disk full' in text for text in stack.reasons('wait'))

    # The machine is mended, and only that one signals again.
    stack.update(waiting(count=2))
    curl(stack, id='web-2', status='SUCCESS', data=2)
    stack.reaches('UPDATE_COMPLETE')
    assert stack.attribute('wait', 'data') == {'web-1': 1, 'web-2': 2}


def test_the_ready_made_failure_fails_the_stack(user: User) -> None:
    stack = user.create(waiting())
    curl(stack, when_there(stack, 'body_failure'))
    assert 'signals failure' in stack.fails('CREATE_FAILED')


def test_a_status_that_nobody_knows_fails_the_stack(user: User) -> None:
    stack = user.create(waiting())
    curl(stack, status='DONE')
    assert "the status 'DONE', which is neither" in stack.fails(
        'CREATE_FAILED'
    )


def test_too_few_signals_fail_the_stack_in_time(user: User) -> None:
    stack = user.create(waiting(count=2, timeout=2))
    assert 'of 2 signals arrived' in stack.fails('CREATE_FAILED')


def test_a_service_that_is_away_for_a_while_fails_no_wait(
    user: User, zaqar: Zaqar, heat: Heat
) -> None:
    stack = user.create(waiting())
    queue = when_there(stack, 'endpoint').split('/')[-2]
    zaqar.stop()
    try:
        text = f'Queue {queue} cannot be read'
        until(lambda: text in heat.log(), 'a poll of a service that is away')
    finally:
        zaqar.start()
    assert stack.show()['stack_status'] == 'CREATE_IN_PROGRESS'
    curl(stack, id='late')
    stack.reaches('CREATE_COMPLETE')
    assert set(stack.attribute('wait', 'data')) == {'late'}


def test_any_message_of_a_queue_is_a_signal(user: User) -> None:
    name = queue_name()
    user.zaqar.ask('PUT', f'/v2/queues/{name}', json={})
    # An id of 0 is one, too.
    again = {'id': 0, 'data': 'x'}
    for body in ('finished', {'data': 'x' * 100_000}, again, again):
        user.zaqar.ask(
            'POST',
            f'/v2/queues/{name}/messages',
            json={'messages': [{'ttl': 300, 'body': body}]},
        )
    wait = {'signal': name, 'count': 3, 'timeout': 300}
    stack = user.done(
        {'wait': {'type': 'OS::Zaqar::SignalWait', 'properties': wait}}
    )
    data = stack.attribute('wait', 'data')
    assert data.pop('0') == 'x'
    assert sorted(map(len, data.values())) == [8, 100_000]


def test_more_signals_than_a_page_holds_are_counted(user: User) -> None:
    name = queue_name()
    messages = [{'ttl': 300, 'body': {'id': str(n)}} for n in range(45)]
    for begin in (0, 15, 30):
        answer = user.zaqar.ask(
            'POST',
            f'/v2/queues/{name}/messages',
            json={'messages': messages[begin : begin + 15]},
        )
        assert answer.status_code == 201
    wait = {'signal': name, 'count': 45, 'timeout': 300}
    stack = user.done(
        {'wait': {'type': 'OS::Zaqar::SignalWait', 'properties': wait}}
    )
    assert len(stack.attribute('wait', 'data')) == 45


def test_a_delayed_signal_counts_when_it_can_be_seen(user: User) -> None:
    stack = user.create(waiting(count=2))
    endpoint = when_there(stack, 'endpoint')
    path = endpoint.removeprefix(user.zaqar.origin)
    late = {'ttl': 300, 'delay': 3, 'body': {'id': 'late'}}
    soon = {'ttl': 300, 'body': {'id': 'soon'}}
    for message in (late, soon):
        user.zaqar.ask('POST', path, json={'messages': [message]})
    stack.reaches('CREATE_COMPLETE')
    assert set(stack.attribute('wait', 'data')) == {'late', 'soon'}


def test_an_update_waits_for_more(user: User) -> None:
    name = queue_name()
    stack = user.create(waiting(name))
    curl(stack, id='a')
    stack.reaches('CREATE_COMPLETE')
    stack.update(waiting(name, count=2))
    curl(stack, id='b')
    stack.reaches('UPDATE_COMPLETE')
    assert stack.id_of('signal') == name
    assert set(stack.attribute('wait', 'data')) == {'a', 'b'}


def test_only_another_ttl_signs_anew(user: User) -> None:
    resources = {'signal': {'type': 'OS::Zaqar::Signal'}}
    stack = user.done(resources)
    first = stack.attribute('signal', 'headers')
    queue = stack.id_of('signal')
    stack.updated({**resources, 'q': {'type': 'OS::Zaqar::Queue'}})
    assert stack.attribute('signal', 'headers') == first
    changed = {'type': 'OS::Zaqar::Signal', 'properties': {'ttl': 7200}}
    stack.updated({'signal': changed})
    second = stack.attribute('signal', 'headers')
    assert second['URL-Expires'] < first['URL-Expires']
    assert stack.id_of('signal') == queue
    shown = user.zaqar.ask('GET', f'/v2/queues/{queue}').json()
    assert shown['_default_message_ttl'] == 7200
    stack.deleted()
    assert not user.zaqar.owns(queue)


def test_a_queue_that_is_gone_is_made_again_for_the_same_url(
    user: User,
) -> None:
    resources = {'signal': {'type': 'OS::Zaqar::Signal'}}
    stack = user.done(resources)
    headers = stack.attribute('signal', 'headers')
    queue = stack.id_of('signal')
    user.zaqar.ask('DELETE', f'/v2/queues/{queue}')
    assert 'does not exist' in stack.check().fails('CHECK_FAILED')
    stack.updated(resources)
    assert user.zaqar.owns(queue)
    assert stack.attribute('signal', 'headers') == headers


@pytest.mark.parametrize('properties', [{'count': 0}, {'timeout': 0}])
def test_there_is_something_to_wait_for(
    user: User, properties: dict[str, int]
) -> None:
    with pytest.raises(Exception, match='out of range'):
        user.create(waiting(**properties))
