# SPDX-License-Identifier: Apache-2.0
"""The API reference: every operation has an entry, every sample is true."""

from __future__ import annotations

import json
import pathlib
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from zaqar.api import microversion_negotiation, operation_table
from zaqar.api.json_schema_parts import SINCE
from zaqar.tests.functional.docs.recorder import SAMPLES, Recorder
from zaqar.tests.servers.zaqar import Zaqar

SOURCE = SAMPLES.parent

ACTIONS = SOURCE.parent / 'websocket.rst'

_SIGNED = '[signed_url]\nsecret_key = a key for the samples alone\n'

_ADMIN = 'admin_mode = True\npooling = True\n'

_ENTRY = re.compile(r'^\.\. rest_method:: (\S+ \S+)$', re.MULTILINE)


_LISTED = re.compile(r'^   - (\S+): (\S+)$', re.MULTILINE)

#: Keys whose description tells what is in them.
_DESCRIBED = frozenset(
    (
        *('body', 'dead_letter', 'last_failure', 'links', 'metadata'),
        *('newest', 'oldest', 'quotas'),
    )
)

#: Keys that only some messages have.
_SOMETIMES = frozenset(
    ('visible_at', 'group', 'attributes', 'dedup_id', 'dead_letter')
)


def _text() -> str:
    return ''.join(page.read_text() for page in SOURCE.glob('*.inc'))


def _entries() -> list[str]:
    return [
        entry
        for page in SOURCE.glob('*.inc')
        for entry in _ENTRY.findall(page.read_text())
    ]


def _entry(row: operation_table.Operation) -> str:
    entry = _text().partition(f'rest_method:: {row.http}\n')[2]
    return entry.partition('rest_method::')[0]


def _action(row: operation_table.Operation) -> str:
    """Return the row of an action in the table of those over WebSocket."""
    (text,) = re.findall(
        rf'^``{row.name}``  .*\n(?: .*\n)*', ACTIONS.read_text(), re.MULTILINE
    )
    return ' '.join(text.split())


def test_every_operation_has_one_entry_and_every_entry_an_operation() -> None:
    # The table's own document tells itself.
    served = {row.http for row in operation_table.OPERATIONS if row.http}

    assert sorted(_entries()) == sorted(served)


@pytest.mark.parametrize(
    'row', operation_table.OPERATIONS, ids=lambda row: row.name
)
def test_an_entry_names_the_answers_and_parameters_of_its_row(
    row: operation_table.Operation,
) -> None:
    if row.http is None:
        pytest.skip('has no route')
    entry = _entry(row)

    for status in row.responses:
        assert f'- {status}\n' in entry
    assert ('- 409\n' in entry) == bool(row.conflict)
    for param in row.query:
        assert f'- {param.name}: ' in entry


@pytest.mark.parametrize(
    'row', operation_table.OPERATIONS, ids=lambda row: row.name
)
def test_an_entry_lists_the_keys_of_its_answers_and_no_others(
    row: operation_table.Operation,
) -> None:
    # That answers have these keys alone is checked by test_schemathesis.
    keys = _keys(*row.responses.values())
    if row.http is None or not keys:
        pytest.skip('has no route, or answers that name no key')

    assert _listed(row) == keys


def test_what_is_new_is_marked() -> None:
    # The first version is nowhere mentioned.
    parameters = yaml.safe_load((SOURCE / 'parameters.yaml').read_text())
    for row in operation_table.OPERATIONS:
        entry = _entry(row) if row.http else _action(row)
        is_new = row.since > microversion_negotiation.MIN
        assert (f'New in version {row.since}' in entry) == is_new, row.name
        for param in row.query if row.http else ():
            (name,) = re.findall(rf'- {param.name}: (\S+)', entry)[:1]
            since = parameters[name].get(
                'min_version', microversion_negotiation.MIN
            )
            assert str(since) == str(param.since), name
        for key, since in _newer(*row.responses.values()) if row.http else ():
            names = re.findall(rf'- {key}: (\S+)', entry)
            versions = {str(parameters[one]['min_version']) for one in names}
            assert versions == {since}, key


def _newer(*schemas: Any) -> set[tuple[str, str]]:
    """Return the keys that a version adds, with the version."""
    keys = set()
    for schema in filter(None, schemas):
        for key, inner in schema.get('properties', {}).items():
            if SINCE in inner:
                keys.add((key, inner[SINCE]))
            keys |= set() if key in _DESCRIBED else _newer(inner)
        keys |= _newer(schema.get('items'))
    return keys


def _keys(*schemas: Any) -> set[str]:
    """Return the keys that schemas name, but for those in a described one."""
    keys = set()
    for schema in filter(None, schemas):
        for key, inner in schema.get('properties', {}).items():
            keys |= {key} | (set() if key in _DESCRIBED else _keys(inner))
        keys |= _keys(schema.get('items'))
    return keys


def _listed(row: operation_table.Operation) -> set[str]:
    """Return the keys in the table of an entry's answer."""
    rows = _LISTED.findall(_entry(row).partition('\nResponse parameters\n')[2])
    parameters = yaml.safe_load((SOURCE / 'parameters.yaml').read_text())
    return {key for key, name in rows if parameters[name]['in'] != 'header'}


@pytest.mark.parametrize('kind', ['queue', 'topic'])
def test_answers_with_messages_have_the_keys_that_are_listed(
    checked: Recorder, kind: str
) -> None:
    one = f'/v2/{kind}s/backups'
    checked.ask(f'POST {one}/messages', request='messages-post')
    page = checked.ask(f'GET {one}/messages?echo=true')
    shown = checked.ask(f'GET {page["messages"][0]["href"]}')
    seen = {'list': page, 'get': shown}
    if kind == 'queue':
        claim = checked.ask(f'POST {one}/claims?limit=1')
        claim_id = claim['messages'][0]['href'].partition('claim_id=')[2]
        show = checked.ask(f'GET {one}/claims/{claim_id}')
        seen |= {'claim_create': claim, 'claim_get': show}
        checked.ask(f'DELETE {one}/claims/{claim_id}')
    popped = checked.ask(f'DELETE {one}/messages?pop=1')
    seen['delete_many'] = popped

    prefix = '' if kind == 'queue' else 'topic_'
    for name, answer in seen.items():
        full = name if 'claim' in name else f'{prefix}message_{name}'
        (row,) = (
            row for row in operation_table.OPERATIONS if row.name == full
        )
        assert _listed(row) - _SOMETIMES == _found(answer), full


def _found(answer: Any) -> set[str]:
    """Return the keys of an answer, but for those in a described one."""
    if isinstance(answer, list):
        return set().union(*map(_found, answer))
    if not isinstance(answer, dict):
        return set()
    inner = [value for key, value in answer.items() if key not in _DESCRIBED]
    return set(answer).union(*map(_found, inner))


@pytest.fixture(scope='module')
def plain(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Recorder]:
    server = Zaqar(tmp_path_factory.mktemp('plain'), rest=_SIGNED).start()
    recorder = Recorder(server.url, {})
    yield recorder
    server.stop()


@pytest.fixture(scope='module')
def checked(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Recorder]:
    folder: pathlib.Path = tmp_path_factory.mktemp('checked')
    server = Zaqar(folder, general='enable_checksum = true').start()
    newest = {
        microversion_negotiation.HEADER: microversion_negotiation.MAX.header
    }
    recorder = Recorder(server.url, {}, newest)
    yield recorder
    server.stop()


@pytest.fixture(scope='module')
def admin(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Recorder]:
    folder: pathlib.Path = tmp_path_factory.mktemp('admin')
    server = Zaqar(folder, general=_ADMIN).start()
    recorder = Recorder(server.url, {'/var/lib/zaqar': str(folder)})
    yield recorder
    server.stop()


def _collection(ask: Recorder, kind: str) -> None:
    one = f'/v2/{kind}s/backups'
    ask.ask(f'PUT {one}', request='queue-create')
    ask.ask(f'GET {one}', response=f'{kind}-show')
    ask.ask(f'PATCH {one}', request='queue-update', response=f'{kind}-update')
    ask.ask(f'GET /v2/{kind}s?detailed=true', response=f'{kind}-list')


def _messages(ask: Recorder, kind: str, prefix: str) -> None:
    one = f'/v2/{kind}s/backups'
    ask.ask(
        f'POST {one}/messages',
        request='messages-post',
        response=f'{prefix}messages-post',
    )
    page = ask.ask(
        f'GET {one}/messages?echo=true', response=f'{prefix}messages-list'
    )
    href = page['messages'][0]['href']
    ask.ask(f'GET {href}', response=f'{prefix}message-show')
    ask.ask(f'GET {one}/stats', response=f'{kind}-stats')


def _rest(ask: Recorder, kind: str, prefix: str) -> None:
    one = f'/v2/{kind}s/backups'
    ask.ask(f'DELETE {one}/messages?pop=1', response=f'{prefix}messages-pop')
    ask.ask(f'POST {one}/purge', request='queue-purge')
    created = ask.ask(
        f'POST {one}/subscriptions',
        request='subscription-create',
        response=f'{prefix}subscription-create',
    )
    subscription = f'{one}/subscriptions/{created["subscription_id"]}'
    ask.ask(f'GET {one}/subscriptions', response=f'{prefix}subscription-list')
    ask.ask(f'GET {subscription}', response=f'{prefix}subscription-show')
    ask.ask(
        f'GET {subscription}/deliveries',
        response=f'{prefix}subscription-deliveries',
    )
    ask.ask(f'PATCH {subscription}', request='subscription-update')
    ask.ask(f'PUT {subscription}/confirm', request='subscription-confirm')


def test_samples_of_queues_are_what_is_answered(plain: Recorder) -> None:
    _collection(plain, 'queue')
    plain.ask(
        'POST /v2/queues/backups/share',
        request='queue-share',
        response='queue-share',
    )
    _messages(plain, 'queue', '')
    claim = plain.ask(
        'POST /v2/queues/backups/claims?limit=1',
        request='claim-create',
        response='claim-create',
    )
    claim_id = claim['messages'][0]['href'].partition('claim_id=')[2]
    path = f'/v2/queues/backups/claims/{claim_id}'
    plain.ask(f'GET {path}', response='claim-show')
    plain.ask(f'PATCH {path}', request='claim-update')
    plain.ask(f'DELETE {path}')
    _rest(plain, 'queue', '')
    plain.ask('GET /v2/', response='home')


def test_samples_of_topics_are_what_is_answered(plain: Recorder) -> None:
    _collection(plain, 'topic')
    _messages(plain, 'topic', 'topic-')
    _rest(plain, 'topic', 'topic-')


def test_samples_for_administrators_are_what_is_answered(
    admin: Recorder,
) -> None:
    admin.ask('PUT /v2/pools/east', request='pool-create')
    admin.ask('GET /v2/pools/east?detailed=true', response='pool-show')
    admin.ask(
        'PATCH /v2/pools/east', request='pool-update', response='pool-update'
    )
    admin.ask('GET /v2/pools?detailed=true', response='pool-list')
    admin.ask('PUT /v2/flavors/fast', request='flavor-create')
    admin.ask('GET /v2/flavors/fast', response='flavor-show')
    admin.ask('GET /v2/flavors?detailed=true', response='flavor-list')
    admin.ask('PUT /v2/pools/west', request='pool-create', east='west')
    admin.ask(
        'PATCH /v2/flavors/fast',
        request='flavor-update',
        response='flavor-update',
    )
    admin.ask('GET /v2/health', response='health')


def test_samples_of_new_operations_are_what_is_answered(
    checked: Recorder,
) -> None:
    one = '/v2/queues/explained'
    posted = checked.ask(f'POST {one}/messages', request='messages-post')
    checked.ask(f'POST {one}/claims?limit=1', request='claim-create')
    checked.ask(
        f'GET {posted["resources"][0]}/explain', response='message-explain'
    )
    checked.ask(f'GET {one}/guarantees', response='queue-guarantees')
    created = checked.ask(
        f'POST {one}/subscriptions', request='subscription-create'
    )
    secret = f'{one}/subscriptions/{created["subscription_id"]}/secret'
    checked.ask(f'GET {secret}', response='subscription-secret')
    checked.ask(f'POST {secret}', response='subscription-rotate')


def test_samples_of_redrives_are_what_is_answered(checked: Recorder) -> None:
    one = '/v2/queues/jobs-failed'
    checked.ask(f'PUT {one}')
    created = checked.ask(
        f'POST {one}/redrive',
        request='redrive-create',
        response='redrive-create',
    )
    redrive = f'{one}/redrives/{created["redrive_id"]}'
    end = time.monotonic() + 30
    while checked.ask(f'GET {redrive}')['status'] == 'running':
        assert time.monotonic() < end
        time.sleep(0.1)
    checked.ask(f'GET {one}/redrives', response='redrive-list')
    checked.ask(f'GET {redrive}', response='redrive-show')
    checked.ask(f'DELETE {redrive}')
    checked.ask(
        f'POST {one}/redrive',
        request='redrive-dry-run',
        response='redrive-dry-run',
    )


def test_the_sample_of_settling_is_what_is_answered(
    checked: Recorder,
) -> None:
    one = '/v2/queues/settled'
    checked.ask(f'PUT {one}', request='queue-create')
    hrefs: list[str] = []
    for _ in range(2):
        posted = checked.ask(f'POST {one}/messages', request='messages-post')
        hrefs += posted['resources']
    claim = checked.ask(f'POST {one}/claims?limit=4', request='claim-create')
    claim_id = claim['messages'][0]['href'].partition('claim_id=')[2]
    sample = json.loads((SAMPLES / 'claim-settle-response.json').read_text())
    shown = [item['id'] for item in sample['results']]
    ids = [href.rpartition('/')[2] for href in hrefs]
    answer = checked.ask(
        f'POST {one}/claims/{claim_id}/settle',
        request='claim-settle',
        response='claim-settle',
        **dict(zip(shown, ids, strict=True)),
    )
    statuses = [item['status'] for item in answer['results']]
    assert statuses == [item['status'] for item in sample['results']]


def test_no_sample_is_left_unused() -> None:
    named = {
        name
        for page in SOURCE.glob('*.inc')
        for name in re.findall(r'samples/(\S+)$', page.read_text(), re.M)
    }

    assert named == {path.name for path in SAMPLES.glob('*.json')}
