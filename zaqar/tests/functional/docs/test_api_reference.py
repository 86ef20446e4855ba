# SPDX-License-Identifier: Apache-2.0
"""The API reference: every operation has an entry, every sample is true."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import pytest

from zaqar.api import table
from zaqar.tests.functional.docs.recorder import SAMPLES, Recorder
from zaqar.tests.servers.zaqar import Zaqar

SOURCE = SAMPLES.parent

_SIGNED = '[signed_url]\nsecret_key = a key for the samples alone\n'

_ADMIN = 'admin_mode = True\npooling = True\n'

_ENTRY = re.compile(r'^\.\. rest_method:: (\S+ \S+)$', re.MULTILINE)


def _entries() -> list[str]:
    return [
        entry
        for page in SOURCE.glob('*.inc')
        for entry in _ENTRY.findall(page.read_text())
    ]


def test_every_operation_has_one_entry_and_every_entry_an_operation() -> None:
    # The table's own document tells itself.
    served = {row.http for row in table.OPERATIONS if row.http}

    assert sorted(_entries()) == sorted(served)


@pytest.mark.parametrize('row', table.OPERATIONS, ids=lambda row: row.name)
def test_an_entry_names_the_answers_and_parameters_of_its_row(
    row: table.Operation,
) -> None:
    if row.http is None:
        pytest.skip('has no route')
    text = ''.join(page.read_text() for page in SOURCE.glob('*.inc'))
    entry = text.partition(f'rest_method:: {row.http}\n')[2]
    entry = entry.partition('rest_method::')[0]

    for status in row.answers:
        assert f'- {status}\n' in entry
    for param in row.query:
        assert f'- {param.name}: ' in entry


@pytest.fixture(scope='module')
def plain(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Recorder]:
    server = Zaqar(tmp_path_factory.mktemp('plain'), rest=_SIGNED).start()
    recorder = Recorder(server.url, {})
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
    found = ask.ask(
        f'GET {one}/messages?echo=true', response=f'{prefix}messages-list'
    )
    href = found['messages'][0]['href']
    ask.ask(f'GET {href}', response=f'{prefix}message-show')
    ask.ask(f'GET {one}/stats', response=f'{kind}-stats')


def _rest(ask: Recorder, kind: str, prefix: str) -> None:
    one = f'/v2/{kind}s/backups'
    ask.ask(f'DELETE {one}/messages?pop=1', response=f'{prefix}messages-pop')
    ask.ask(f'POST {one}/purge', request='queue-purge')
    made = ask.ask(
        f'POST {one}/subscriptions',
        request='subscription-create',
        response=f'{prefix}subscription-create',
    )
    subscription = f'{one}/subscriptions/{made["subscription_id"]}'
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


def test_no_sample_is_left_unused() -> None:
    named = {
        name
        for page in SOURCE.glob('*.inc')
        for name in re.findall(r'samples/(\S+)$', page.read_text(), re.M)
    }

    assert named == {path.name for path in SAMPLES.glob('*.json')}
