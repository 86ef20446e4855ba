# SPDX-License-Identifier: Apache-2.0
"""Steps on MongoDB by requests that are late."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable

database = pytest.importorskip(
    'zaqar.storage.mongodb.database_commands_and_transactions'
)
errors = pytest.importorskip('pymongo.errors')


def hello(_: str) -> dict[str, Any]:
    return {'maxWireVersion': 21, 'setName': 'rs', 'hosts': ['a', 'b', 'c']}


@pytest.mark.parametrize(('seconds', 'is_down'), [(0.3, False), (3.0, True)])
def test_only_a_silence_of_some_length_is_an_outage(
    seconds: float, is_down: bool
) -> None:
    client = SimpleNamespace(
        admin=SimpleNamespace(command=hello),
        topology_description=SimpleNamespace(
            has_writable_server=lambda: False
        ),
    )
    settings = SimpleNamespace(client=lambda: client, unreliable=False)
    store = database.MongoDatabase(settings, [], {})

    def fail() -> None:
        raise errors.ServerSelectionTimeoutError

    with request_deadline.within(seconds), pytest.raises(StoreUnavailable):
        store.step(fail)

    with ThreadPoolExecutor(1) as others:

        def step_of_another() -> Any:
            return others.submit(store.step, lambda: 'done').result()

        if is_down:
            # One waits for a primary at a time.
            with pytest.raises(StoreUnavailable):
                store.step(step_of_another)
        else:
            assert store.step(step_of_another) == 'done'
