# SPDX-License-Identifier: Apache-2.0
"""What Heat itself uses the service for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from keystoneauth1 import session
from keystoneauth1.identity import v3

from zaqar.api.microversion_negotiation import HEADER
from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.heat.stacks import TEMPLATES, User, until
from zaqar.tests.functional.keystone.callers import Caller, queue_name


def machine(user: User, credentials: Mapping[str, Any]) -> Caller:
    """Return a caller with the credentials that Heat gives a machine."""
    auth = v3.Password(
        credentials['auth_url'],
        user_id=credentials['user_id'],
        password=credentials['password'],
        project_id=credentials['project_id'],
    )
    token = session.Session(auth).get_token()
    return Caller(user.zaqar.origin, token, credentials['project_id'])


def bodies(caller: Caller, queue: str) -> list[Any]:
    """Return the bodies of the first messages of a queue."""
    path = f'/v2/queues/{queue}/messages?limit=20&echo=true'
    messages = caller.ask('GET', path).json()['messages']
    return [message['body'] for message in messages]


def signal(caller: Caller, queue: str, body: Mapping[str, Any]) -> None:
    """Post a signal to a queue of Heat's."""
    message = {'ttl': 300, 'body': body}
    path = f'/v2/queues/{queue}/messages'
    answer = caller.ask('POST', path, json={'messages': [message]})
    assert answer.status_code == 201


def test_events_of_a_stack_go_to_a_queue(user: User) -> None:
    text = (TEMPLATES / 'event_sink.yaml').read_text()
    queue = queue_name()
    stack = user.done(
        {'q': {'type': 'OS::Zaqar::Queue'}},
        environment=re.sub('stack-events', queue, text),
    )

    # Heat posts each event in a thread of its own, so they come in any order,
    # and some when the stack is complete.
    events = user.ask('GET', f'{stack.path}/events')['events']
    wanted = sorted(event['id'] for event in events)
    assert len(wanted) == 4

    def posted() -> list[Any] | None:
        events = bodies(user.zaqar, queue)
        return events if len(events) >= len(wanted) else None

    got = until(posted, 'the last event')
    assert sorted(body['id'] for body in got) == wanted
    assert {body['type'] for body in got} == {'os.heat.event'}
    payloads = [body['payload'] for body in got]
    assert all(payload['stack_id'] in stack.path for payload in payloads)
    assert {
        payload['resource_status']
        for payload in payloads
        if payload['resource_name'] == 'q'
    } == {'IN_PROGRESS', 'COMPLETE'}


def test_a_wait_condition_is_signalled_through_a_queue(user: User) -> None:
    handle = {'signal_transport': 'ZAQAR_SIGNAL'}
    wait = {'handle': {'get_resource': 'handle'}, 'count': 2, 'timeout': 300}
    stack = user.create(
        {
            'handle': {
                'type': 'OS::Heat::WaitConditionHandle',
                'properties': handle,
            },
            'wait': {'type': 'OS::Heat::WaitCondition', 'properties': wait},
        },
        outputs={'data': {'get_attr': ['wait', 'data']}},
    )
    credentials = json.loads(
        until(lambda: stack.attribute('handle', 'signal'), 'the handle')
    )
    caller = machine(user, credentials)
    for name in ('one', 'two'):
        body = {'status': 'SUCCESS', 'id': name, 'data': name.upper()}
        signal(caller, credentials['queue_id'], body)
    assert _exists(caller, credentials['queue_id'])
    stack.reaches('CREATE_COMPLETE')
    assert json.loads(stack.output('data')) == {'one': 'ONE', 'two': 'TWO'}
    stack.deleted()
    assert not _exists(caller, credentials['queue_id'])


def test_a_server_is_told_its_software_through_a_queue(user: User) -> None:
    stack = user.create(
        _deployment(),
        outputs={'said': {'get_attr': ['deployment', 'deploy_stdout']}},
    )
    collector = until(
        lambda: stack.attribute('server', 'os_collect_config'), 'the server'
    )['zaqar']
    caller = machine(user, collector)
    # What os-collect-config does on the server.
    (deployment,) = until(
        lambda: next(_deployments(caller, collector['queue_id']), None),
        'the metadata of the server',
    )
    assert deployment['config'] == 'echo hello'
    inputs = {i['name']: i['value'] for i in deployment['inputs']}
    credentials = {
        key: inputs[f'deploy_{key}']
        for key in (
            'auth_url',
            'user_id',
            'password',
            'project_id',
            'queue_id',
        )
    }
    body = {'deploy_stdout': 'hello', 'deploy_status_code': 0}
    signal(machine(user, credentials), credentials['queue_id'], body)
    stack.reaches('CREATE_COMPLETE')
    assert stack.output('said') == 'hello'
    # Heat 27 leaves the queue of the server behind: it looks for a service of
    # the type "zaqar" before it deletes it. That of the signal goes.
    stack.deleted()
    assert not _exists(caller, credentials['queue_id'])


def _exists(caller: Caller, queue: str) -> bool:
    """Tell whether there is a queue, by what the user of a stack may do."""
    path, headers = f'/v2/queues/{queue}/share', {HEADER: V2_1.header}
    status = caller.ask('POST', path, headers, json={}).status_code
    assert status in (200, 404)
    return status == 200


def _deployment() -> dict[str, Any]:
    """Return a template with software for a server, but without Nova."""
    return {
        'server': {
            'type': 'OS::Heat::DeployedServer',
            'properties': {'software_config_transport': 'ZAQAR_MESSAGE'},
        },
        'config': {
            'type': 'OS::Heat::SoftwareConfig',
            'properties': {'group': 'script', 'config': 'echo hello'},
        },
        'deployment': {
            'type': 'OS::Heat::SoftwareDeployment',
            'properties': {
                'server': {'get_resource': 'server'},
                'config': {'get_resource': 'config'},
                'signal_transport': 'ZAQAR_SIGNAL',
            },
        },
    }


def _deployments(caller: Caller, queue: str) -> Iterator[list[Any]]:
    for body in bodies(caller, queue):
        if body.get('deployments'):
            yield body['deployments']
