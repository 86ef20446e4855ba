# SPDX-License-Identifier: Apache-2.0
"""What is told to nobody: secrets in answers and in the log."""

from __future__ import annotations

import ast
import pathlib
from typing import Any

import pytest

import zaqar
from zaqar.api import operation_table
from zaqar.controllers import subscription_records
from zaqar.objects import Scope
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi
from zaqar.tests.functional.http.test_table import EXCHANGES

SIGNING = 'a signing key that nobody knows'
SEALING = 'a sealing key that nobody knows'
BODY = 'attack at dawn'
TOKEN = 'gAAAAAa-token-that-nobody-knows'
PASSWORD = 'hidden-password'

QUEUE = '/v2/queues/q'
SUBSCRIPTIONS = f'{QUEUE}/subscriptions'

_ALL = f"""
debug = true
{POOLED}{VIRTUAL}
[signed_url]
secret_key = {SIGNING}
[transport]
message_encryption_key = {SEALING}
"""


def _noisy(make_api: MakeApi) -> Api:
    """Return an application that logs all it can."""
    return make_api(_ALL).as_admin()


def _everything(api: Api, name: str) -> None:
    """Run an exchange and what goes wrong around it, with secrets in it."""
    row = operation_table.BY_ACTION[name]
    api = api.at(row.since)
    EXCHANGES[name](api)
    messages = {'messages': [{'body': BODY}]}
    api('PUT', QUEUE, {'_enable_encrypt_messages': True})
    api.post('q', BODY)
    path = row.path.replace('{queue_name}', 'q').replace('{topic_name}', 'q')
    for document in (messages, {'ttl': 1, 'body': BODY}, [BODY], BODY):
        token = {'X-Auth-Token': TOKEN, 'URL-Expires': BODY}
        api(row.method, path, document, headers=token)
    api(row.method, path, raw=b'{"messages": [{"body": "' + BODY.encode())


@pytest.mark.proves('logs without secrets')
@pytest.mark.parametrize('name', sorted(EXCHANGES))
@pytest.mark.sqlite
def test_no_body_no_key_and_no_token_is_logged(
    make_api: MakeApi, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    _everything(_noisy(make_api), name)
    written = ''.join(capfd.readouterr())
    assert f'{name} ' in written, 'nothing is logged at all'
    for secret in (BODY, SIGNING, SEALING, TOKEN):
        assert secret not in written


@pytest.mark.proves('logs without secrets')
def test_no_password_of_a_pool_is_logged(
    make_api: MakeApi, capfd: pytest.CaptureFixture[str]
) -> None:
    noisy = _noisy(make_api)
    for uri in (
        f'postgresql://zaqar:{PASSWORD}@127.0.0.1:1/nothing',
        f'mysql://zaqar:{PASSWORD}@127.0.0.1:1/nothing',
        f'nothing://zaqar:{PASSWORD}@127.0.0.1:1/nothing',
    ):
        place = {'uri': uri, 'weight': 1}
        assert noisy('PUT', '/v2/pools/east', place).status == 400
    # One that was there, and whose server is not any more.
    pools.make(noisy, 'west')
    catalogue: Any = noisy.service.catalogue
    catalogue.pools.records.change('west', {'uri': uri})
    assert noisy('GET', '/v2/ping').status == 503
    assert PASSWORD not in ''.join(capfd.readouterr())


@pytest.mark.proves('pool passwords')
def test_nobody_but_administrators_sees_passwords_of_pools(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / 'policy.yaml'
    lines = [f'"pools:{verb}": ""' for verb in ('get', 'get_all', 'update')]
    file.write_text('\n'.join(lines))
    api = make_api(f'{POOLED}[oslo_policy]\npolicy_file = {file}\n').as_admin()
    options = {'password': PASSWORD, 'ssl_keyfile': '/a/path'}
    pools.make(api, 'east', options=options)
    uri = f'redis://user:{PASSWORD}@h:1/2?master_password={PASSWORD}&n=1'
    catalogue: Any = api.service.catalogue
    catalogue.pools.records.change('east', {'uri': uri})
    requests = [
        ('GET', '/v2/pools/east?detailed=true', ()),
        ('GET', '/v2/pools?detailed=true', ()),
        ('PATCH', '/v2/pools/east', ({'weight': 2},)),
    ]
    for method, path, document in requests:
        full = api(method, path, *document)
        seen = api.with_changes(roles='member')(method, path, *document)
        assert (full.status, seen.status) == (200, 200)
        assert PASSWORD.encode() in full.body
        assert PASSWORD.encode() not in seen.body
        assert b'redis://user:***@h:1/2?master_password=***&n=1' in seen.body


# Trusts.


@pytest.mark.proves('trust ids are secret')
def test_a_trust_is_shown_to_nobody(api: Api) -> None:
    subscription = api(
        'POST', SUBSCRIPTIONS, {'subscriber': 'http://a.b'}
    ).json
    management = api.service.catalogue.management
    key = (
        subscription_records.SUBSCRIPTION,
        subscription_records.parent_of(Scope(api.project, 'q')),
        subscription['subscription_id'],
    )
    record = management.get(*key)
    assert record is not None
    options = {**record.data['options'], 'trust_id': 'a-trust', 'n': 1}
    data = {**record.data, 'options': options}
    assert management.replace(*key, data, version=record.version)
    path = f'{SUBSCRIPTIONS}/{subscription["subscription_id"]}'
    for answer in (api('GET', path), api('GET', SUBSCRIPTIONS)):
        assert answer.status == 200
        assert b'"n":1' in answer.body
        assert b'trust' not in answer.body


# How bodies are kept.


@pytest.mark.proves('no native serialization')
def test_nothing_of_python_is_serialized() -> None:
    """No pickle and nothing like it is as much as imported."""
    banned = {'pickle', 'cPickle', 'marshal', 'shelve', 'dill', 'jsonpickle'}
    root = pathlib.Path(zaqar.__file__).parent
    for file in root.rglob('*.py'):
        if 'tests' in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = set()
            if isinstance(node, ast.Import):
                names = {item.name.split('.')[0] for item in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module.split('.')[0]}
            assert not names & banned, file
