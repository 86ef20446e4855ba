# SPDX-License-Identifier: Apache-2.0
"""Workflows that messages start, with Mistral's part played by a stand-in."""

from __future__ import annotations

import http.server
import json
import queue
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from zaqar.tests.functional.heat.stacks import PATIENCE, TEMPLATES, User
from zaqar.tests.servers.keystone import Keystone

WORKFLOW = str(uuid.uuid4())


@dataclass
class Request:
    """What Mistral is asked."""

    path: str
    token: str
    body: Any


@dataclass
class Mistral:
    """A server that knows one workflow, and notes what it is to execute."""

    executions: queue.Queue[Request] = field(default_factory=queue.Queue)

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        """Return what answers a request."""
        executions = self.executions

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exists = f'/v2/workflows/{WORKFLOW}' in self.path
                self.answer(200 if exists else 404, {'id': WORKFLOW})

            def do_POST(self) -> None:
                size = int(self.headers['Content-Length'])
                body = json.loads(self.rfile.read(size))
                token = self.headers['X-Auth-Token']
                executions.put(Request(self.path, token, body))
                self.answer(201, {'id': str(uuid.uuid4())})

            def answer(self, status: int, value: Any) -> None:
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def mistral(mistral_port: int) -> Iterator[Mistral]:
    """A stand-in for Mistral, where the catalogue says it is."""
    workflows = Mistral()
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', mistral_port), workflows.handler()
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield workflows
    server.shutdown()
    thread.join()
    server.server_close()


def test_mistral_trigger(
    user: User, mistral: Mistral, keystone: Keystone
) -> None:
    stack = user.done(
        TEMPLATES / 'mistral_trigger.yaml', parameters={'workflow': WORKFLOW}
    )
    user.zaqar.post(stack.output('queue'))
    request = mistral.executions.get(timeout=PATIENCE)
    message = request.body['params']['env'].pop('notification')
    assert request.path == '/v2/executions'
    assert request.body == {
        'workflow_id': WORKFLOW,
        'params': {'env': {'region': 'north'}},
        'input': {'retries': 3},
    }
    assert message['body'] == {'event': 'made'}
    # The token is the owner's, by a trust, and Keystone knows it.
    seen = _describe(keystone, request.token)
    owner = _describe(keystone, str(user.zaqar.token))
    assert seen['user']['id'] == owner['user']['id']
    assert seen['project']['id'] == user.zaqar.project
    trust = seen['OS-TRUST:trust']
    assert trust['trustor_user']['id'] == owner['user']['id']
    assert trust['trustee_user']['id'] == keystone.service.id
    stack.deleted()


def test_an_update_of_a_trigger_keeps_the_trust(
    user: User, mistral: Mistral, keystone: Keystone
) -> None:
    def trigger(**fields: Any) -> dict[str, Any]:
        properties = {
            'queue_name': {'get_resource': 'q'},
            'workflow_id': WORKFLOW,
            **fields,
        }
        return {
            'q': {'type': 'OS::Zaqar::Queue'},
            't': {
                'type': 'OS::Zaqar::MistralTrigger',
                'properties': properties,
            },
        }

    stack = user.done(trigger())
    first_id = stack.id_of('t')
    user.zaqar.post(stack.id_of('q'))
    first = mistral.executions.get(timeout=PATIENCE)
    stack.updated(trigger(input={'n': 1}))
    assert stack.id_of('t') == first_id
    user.zaqar.post(stack.id_of('q'))
    second = mistral.executions.get(timeout=PATIENCE)
    assert (first.body['input'], second.body['input']) == ({}, {'n': 1})
    trusts = [
        _describe(keystone, request.token)['OS-TRUST:trust']['id']
        for request in (first, second)
    ]
    assert trusts[0] == trusts[1]


def test_a_workflow_that_nobody_knows_is_refused(
    user: User, mistral: Mistral
) -> None:
    with pytest.raises(Exception, match='could not be found'):
        user.create(
            TEMPLATES / 'mistral_trigger.yaml',
            parameters={'workflow': str(uuid.uuid4())},
        )
    assert mistral.executions.empty()


def _describe(keystone: Keystone, token: str) -> dict[str, Any]:
    """Return what Keystone says of a token."""
    answer = requests.get(
        f'{keystone.url}/auth/tokens',
        headers={
            'X-Auth-Token': keystone.system_token(),
            'X-Subject-Token': token,
        },
        timeout=30,
    )
    details: dict[str, Any] = answer.json()['token']
    return details
