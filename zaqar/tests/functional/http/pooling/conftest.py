# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from zaqar import service_assembly
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import POOLED, MakeApi


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """An application with pools and no virtual pool."""
    return make_api(POOLED).as_admin()


@pytest.fixture
def twin(api: Api) -> Iterator[Api]:
    """Another process on the same stores, in effect."""
    built = service_assembly.Service(api.service.conf)
    yield Api(built, api.clock).as_admin()
    built.close()


@pytest.fixture
def flavored(api: Api) -> Api:
    """An application with a flavor for each of two pools."""
    for flavor, pool in (('slow', 'east'), ('fast', 'west')):
        pools.make(api, pool)
        pools.flavor(api, flavor, pool)
    assert api('PUT', '/v2/queues/q', {'_flavor': 'slow'}).status == 201
    return api
