# SPDX-License-Identifier: Apache-2.0
"""Redrives over HTTP: reference/http, "Redrives"."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from msgspec import structs

from zaqar.controllers.redrive_batches import Run
from zaqar.microversion_constants import V2_0, V2_1
from zaqar.objects import Scope
from zaqar.tests.contract.caller import Died, Mortal
from zaqar.tests.functional.http.client import PROJECT, Api
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi

QUEUE = '/v2/queues/dead'
REDRIVE = f'{QUEUE}/redrive'


@pytest.fixture
def new(api: Api) -> Api:
    """Somebody who asks in the version that has redrives."""
    return api.at(V2_1)


def begin(api: Api, **document: Any) -> str:
    """Request a redrive; return its path."""
    answer = api('POST', REDRIVE, document)
    assert answer.status == 202, answer
    assert answer.headers['location'] == (
        f'{QUEUE}/redrives/{answer.json["redrive_id"]}'
    )
    return str(answer.headers['location'])


def test_there_are_no_redrives_below_2_1(api: Api) -> None:
    api.post('dead', 1)
    old = api.at(V2_0)
    assert old('POST', REDRIVE, {}).status == 404
    assert old('GET', f'{QUEUE}/redrives').status == 404


def test_a_dry_run_counts_and_changes_nothing(new: Api) -> None:
    new.post('dead', {'n': 1}, {'n': 2})
    answer = new('POST', REDRIVE, {'to': 'x', 'dry_run': True})
    assert answer.status == 200
    assert answer.json == {'matched': 2, 'scanned': 2, 'complete': True}
    # Both came from nowhere.
    answer = new('POST', REDRIVE, {'dry_run': True})
    assert answer.json == {'matched': 0, 'scanned': 2, 'complete': True}
    document = {
        'to': 'x',
        'dry_run': True,
        'filter': {'body': {'n': [{'numeric': ['>', 1]}]}},
    }
    assert new('POST', REDRIVE, document).json['matched'] == 1
    assert new('GET', f'{QUEUE}/redrives').json == {'redrives': []}
    assert len(new.bodies('dead')) == 2


def test_a_redrive_is_shown_listed_and_cancelled(new: Api) -> None:
    new('PUT', QUEUE)
    path = begin(new, to='x', rate=5, limit=9)
    shown = new('GET', path).json
    assert shown == {
        'redrive_id': path.rpartition('/')[2],
        'status': 'running',
        'to': 'x',
        'moved': 0,
        'matched': 0,
        'limit': 9,
        'rate': 5,
        'started_at': '2027-01-15T08:00:00.000Z',
        'ended_at': None,
        'error': None,
    }
    assert new('GET', f'{QUEUE}/redrives').json == {'redrives': [shown]}
    refused = new('POST', REDRIVE, {})
    assert refused.status == 409
    assert shown['redrive_id'] in refused.description
    new.clock.move(7)
    for _ in range(2):
        assert new('DELETE', path).status == 204
        assert new('GET', path).json == {
            **shown,
            'status': 'cancelled',
            'ended_at': '2027-01-15T08:00:07.000Z',
        }
    begin(new)
    assert len(new('GET', f'{QUEUE}/redrives').json['redrives']) == 2


@pytest.mark.parametrize(
    'document',
    [
        {'to': 'dead'},
        {'to': ['x']},
        {'too': 'x'},
        {'rate': 0},
        {'limit': '5'},
        {'filter': {'body': {'a': 'b'}}},
        {'filter': {'age': 5}},
        [],
    ],
    ids=str,
)
def test_a_malformed_redrive_is_400(new: Api, document: Any) -> None:
    new('PUT', QUEUE)
    answer = new('POST', REDRIVE, document)
    assert answer.status == 400
    assert answer.description
    assert new('GET', f'{QUEUE}/redrives').json == {'redrives': []}


def test_what_does_not_exist_is_404(new: Api) -> None:
    assert new('POST', REDRIVE, {}).status == 404
    assert new('POST', REDRIVE, {'dry_run': True}).status == 404
    assert new('GET', f'{QUEUE}/redrives').json == {'redrives': []}
    for method in ('GET', 'DELETE'):
        for name in ('x', '%00', 'a' * 999):
            assert new(method, f'{QUEUE}/redrives/{name}').status == 404
    path = begin_elsewhere(new)
    other = {'X-Project-ID': 'another'}
    for method in ('GET', 'DELETE'):
        assert new(method, path, headers=other).status == 404
    assert new('GET', path).json['status'] == 'running'


def begin_elsewhere(api: Api) -> str:
    """Request a redrive of a queue that is made for it."""
    api('PUT', QUEUE)
    return begin(api)


def pooled(make_api: MakeApi) -> Api:
    """Return an application with two pools, each of a flavor of its name."""
    api = make_api(POOLED + VIRTUAL).as_admin().at(V2_1)
    for name in ('east', 'west'):
        uri = f'sqlite:///{api.service.conf.state_path}/{name}.sqlite'
        answer = api('PUT', f'/v2/pools/{name}', {'uri': uri, 'weight': 1})
        assert answer.status == 201
        flavor = {'pool_list': [name]}
        assert api('PUT', f'/v2/flavors/{name}', flavor).status == 201
    return api


class DyingCatalogue:
    """The catalogue of a process that dies after some changes of stores."""

    def __init__(self, catalogue: Any, mortal: Mortal) -> None:
        self._catalogue = copy.copy(catalogue)
        self._mortal = mortal
        self._catalogue.management = mortal.watched(catalogue.management)
        self._catalogue.store = lambda queue: mortal.watched(
            catalogue.store(queue)
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalogue, name)


def work_on(ctx: Any, owner: str) -> None:
    """Do the work of the redrive of the queue."""
    scope = Scope(PROJECT, 'dead')
    run = Run(ctx, scope, owner, itertools.count().__next__)
    assert run.take()
    while run.step() is not None:
        pass


@pytest.mark.parametrize('steps', range(13))
def test_a_redrive_across_pools_survives_a_kill_after_any_step(
    make_api: MakeApi, steps: int
) -> None:
    api = pooled(make_api)
    api('PUT', QUEUE, {'_flavor': 'east'})
    work = {'_max_claim_count': 1, '_dead_letter_queue': 'dead'}
    api('PUT', '/v2/queues/work', {'_flavor': 'west', **work})
    api.post('work', 1, 2, 3, ttl=86_400)
    api('DELETE', api.claim('work').headers['location'])
    assert api.claim('work').status == 204
    path = begin(api, rate=10)
    ctx = api.service.internal
    mortal = Mortal(steps)
    dying = structs.replace(
        ctx, catalogue=DyingCatalogue(ctx.catalogue, mortal)
    )
    with pytest.raises(Died):
        work_on(dying, 'dying')
    assert len(mortal.changes) == steps
    api.clock.move(20)
    work_on(ctx, 'another')
    assert api('GET', path).json['moved'] == 3
    assert api.bodies('work') == [1, 2, 3]
    assert api.bodies('dead') == []
    (shown, *_) = api('GET', '/v2/queues/work/messages?echo=1').json[
        'messages'
    ]
    assert (shown['ttl'], shown['claim_count']) == (86_400, 0)
    assert 'dead_letter' not in shown


RULES = """
"redrives:create": "role:redriver"
"messages:create": "%s"
"""


@pytest.mark.proves('redrives need the right to post')
@pytest.mark.parametrize(
    ('rule', 'roles', 'to', 'status'),
    [
        ('', 'redriver', None, 202),
        ('', 'member', None, 403),
        ('role:poster', 'redriver', 'x', 403),
        ('role:poster', 'redriver', None, 403),
        ('role:poster', 'redriver,poster', 'x', 202),
        ('role:poster', 'redriver,poster', None, 202),
        ("'x':%(queue_name)s", 'redriver', 'x', 202),
        ("'x':%(queue_name)s", 'redriver', 'y', 403),
        # Where messages come from is not known yet.
        ("'x':%(queue_name)s", 'redriver', None, 403),
    ],
)
def test_who_redrives_must_be_allowed_to_post(
    make_api: MakeApi,
    tmp_path: Any,
    rule: str,
    roles: str,
    to: str | None,
    status: int,
) -> None:
    (tmp_path / 'policy.yaml').write_text(RULES % rule)
    api = make_api(f'[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml\n')
    new = api.at(V2_1)
    new('PUT', QUEUE)
    document = {} if to is None else {'to': to}
    answer = new('POST', REDRIVE, document, headers={'X-Roles': roles})
    assert answer.status == status
    shown = new('GET', f'{QUEUE}/redrives').json['redrives']
    assert len(shown) == (status == 202)


def test_without_notifiers_a_redrive_is_refused(make_api: MakeApi) -> None:
    new = make_api('[storage]\nmessage_pipeline =\n').at(V2_1)
    new('PUT', QUEUE)
    answer = new('POST', REDRIVE, {})
    assert answer.status == 400
    assert 'message_pipeline' in answer.description
    assert new('POST', REDRIVE, {'dry_run': True}).status == 200
