# SPDX-License-Identifier: Apache-2.0
"""Pools and flavors in templates, for administrators."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from zaqar.tests.functional.heat.conftest import Without
from zaqar.tests.functional.heat.stacks import User
from zaqar.tests.functional.keystone.callers import queue_name


def pooled(
    folder: pathlib.Path, pool: str, flavor: str, **more: Any
) -> dict[str, Any]:
    """Return the resources of a template with a pool and a flavor.

    They name each other, so that Heat has to find out which comes first.
    """
    uri = f'sqlite:///{folder}/{pool}.sqlite'
    properties = {'name': pool, 'uri': uri, 'weight': 100, **more}
    named = {'name': flavor, 'pool_list': [pool]}
    return {
        'a': {'type': 'OS::Zaqar::Flavor', 'properties': named},
        'b': {'type': 'OS::Zaqar::Pool', 'properties': properties},
    }


def test_pools_and_flavors_are_made_updated_and_deleted(
    admin: User, tmp_path: pathlib.Path
) -> None:
    pool, flavor, queue = queue_name(), queue_name(), queue_name()
    template = pooled(tmp_path, pool, flavor)
    properties = {'name': queue, 'flavor': flavor}
    template['0'] = {'type': 'OS::Zaqar::Queue', 'properties': properties}
    stack = admin.done(template)
    assert admin.zaqar.owns(queue)
    assert stack.resource('b')['required_by'] == ['a']
    assert stack.resource('a')['required_by'] == ['0']
    assert 'CLAIMS' in stack.attribute('a', 'capabilities')
    assert stack.attribute('b', 'flavor') == flavor

    del template['0']
    template['b']['properties']['weight'] = 7
    template['b']['properties']['options'] = {'max_retries': 3}
    stack.updated(template)
    shown = admin.zaqar.ask('GET', f'/v2/pools/{pool}?detailed=true').json()
    assert (stack.id_of('b'), shown['weight']) == (pool, 7)
    assert shown['options'] == {'max_retries': 3}
    assert not admin.zaqar.owns(queue)

    stack.deleted()
    for path in (f'/v2/pools/{pool}', f'/v2/flavors/{flavor}'):
        assert admin.zaqar.ask('GET', path).status_code == 404


def test_a_pool_is_put_into_a_flavor_and_taken_out(
    admin: User, tmp_path: pathlib.Path
) -> None:
    pool, flavor = queue_name(), queue_name()
    template = pooled(tmp_path, pool, flavor)
    del template['a']
    stack = admin.done(template)
    template['b']['properties']['flavor'] = flavor
    stack.updated(template)
    assert stack.attribute('b', 'flavor') == flavor
    del template['b']['properties']['flavor']
    stack.updated(template)
    path = f'/v2/pools/{pool}'
    assert admin.zaqar.ask('GET', path).json()['flavor'] is None
    stack.deleted()


def test_a_pool_that_was_there_is_left_alone(
    admin: User, tmp_path: pathlib.Path
) -> None:
    pool, flavor = queue_name(), queue_name()
    template = pooled(tmp_path, pool, flavor)
    first = admin.done(template)
    del template['a']
    second = admin.create(template)
    assert f'a pool {pool} already' in second.fails('CREATE_FAILED')
    second.deleted()
    path = f'/v2/pools/{pool}'
    assert admin.zaqar.ask('GET', path).status_code == 200
    first.deleted()


def test_events_tell_of_a_store_that_does_not_answer(
    admin: User, tmp_path: pathlib.Path
) -> None:
    template = pooled(tmp_path / 'no such folder', queue_name(), queue_name())
    reason = admin.create(template).fails('CREATE_FAILED')
    assert 'cannot connect to' in reason


@pytest.mark.parametrize('which', ['a', 'b'])
def test_members_are_told_that_pools_are_for_administrators(
    user: User, tmp_path: pathlib.Path, which: str
) -> None:
    template = pooled(tmp_path, queue_name(), queue_name())
    stack = user.create({which: template[which]})
    reason = stack.fails('CREATE_FAILED')
    assert 'Only an administrator of Zaqar may create' in reason
    stack.deleted()


def test_events_tell_that_a_service_has_no_pools(
    admin: User, tmp_path: pathlib.Path, without_pools: Without
) -> None:
    template = pooled(tmp_path, queue_name(), queue_name())
    with without_pools():
        for which, what in (('a', 'flavors'), ('b', 'pools')):
            stack = admin.create({which: template[which]})
            reason = stack.fails('CREATE_FAILED')
            assert f'has no {what}: it needs admin_mode and' in reason
            stack.deleted()
