# SPDX-License-Identifier: Apache-2.0
"""Pools of one flavor promise the same: reference/http, "Pools"."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from zaqar.storage import installed_drivers
from zaqar.storage.driver_declaration import Capability
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import POOLED, MakeApi

pytestmark = pytest.mark.sqlite

TEXT = 'The pool being added does not support the minimum set of capabilities'


@pytest.fixture
def api(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> Api:
    """An application with a second driver, which promises less.

    Its stores are those of the first, under another scheme.
    """
    lesser = dataclasses.replace(
        DRIVER,
        name='lesser',
        schemes=('lesser',),
        capabilities=(Capability.AOD, Capability.CLAIMS),
        open_messages=lambda uri, values: DRIVER.open_messages(
            uri.removeprefix('lesser+'), values
        ),
        check_pool=None,
    )
    installed = {**installed_drivers.installed(), 'lesser': lesser}
    monkeypatch.setattr(installed_drivers, 'installed', lambda: installed)
    return make_api(POOLED).as_admin()


def _lesser(api: Api, name: str) -> dict[str, Any]:
    return {'uri': f'lesser+{pools.uri(api, name)}', 'weight': 1}


def test_a_pool_must_promise_what_the_others_without_a_flavor_do(
    api: Api,
) -> None:
    pools.make(api, 'east')
    answer = api('PUT', '/v2/pools/west', _lesser(api, 'west'))
    assert answer.is_error(400, 'Unable to create pool')
    assert answer.description == TEXT
    assert api('GET', '/v2/pools/west').status == 404


def test_a_pool_must_promise_what_the_others_of_its_flavor_do(
    api: Api,
) -> None:
    pools.make(api, 'east', flavor='gold')
    answer = api('PUT', '/v2/pools/west', _lesser(api, 'west'))
    assert answer.status == 201
    answer = api('PATCH', '/v2/pools/west', {'flavor': 'gold'})
    assert answer.is_error(400, 'Unable to update pool', 'capabilities')
    assert api('GET', '/v2/pools/west').json['flavor'] is None
    document = {**_lesser(api, 'north'), 'flavor': 'gold'}
    answer = api('PUT', '/v2/pools/north', document)
    assert answer.is_error(400, 'Unable to create pool', TEXT)


def test_a_pool_cannot_go_where_less_is_promised(api: Api) -> None:
    pools.make(api, 'east')
    pools.make(api, 'west')
    change = {'uri': _lesser(api, 'moved')['uri']}
    assert api('PATCH', '/v2/pools/west', change).status == 400
    assert api('DELETE', '/v2/pools/east').status == 204
    assert api('PATCH', '/v2/pools/west', change).status == 200


def test_a_flavor_shows_what_its_first_pool_promises(api: Api) -> None:
    assert api('PUT', '/v2/pools/west', _lesser(api, 'west')).status == 201
    pools.flavor(api, 'fast', 'west')
    shown = api('GET', '/v2/flavors/fast').json
    assert shown['capabilities'] == ['AOD', 'CLAIMS']
