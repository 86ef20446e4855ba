# SPDX-License-Identifier: Apache-2.0
"""Steps on MongoDB by requests that are late."""

from __future__ import annotations

import time
from typing import Any

import pytest

from zaqar.errors import StoreUnavailable

commands_and_transactions = pytest.importorskip(
    'zaqar.storage.mongodb.commands_and_transactions'
)
errors = pytest.importorskip('pymongo.errors')


@pytest.mark.parametrize(('seconds', 'is_down'), [(0.3, False), (3.0, True)])
def test_only_a_silence_of_some_length_is_an_outage(
    seconds: float, is_down: bool
) -> None:
    store: Any = commands_and_transactions.MongoDatabase.__new__(
        commands_and_transactions.MongoDatabase
    )
    store._is_down = False  # noqa: SLF001

    def fail() -> None:
        raise errors.ServerSelectionTimeoutError

    with pytest.raises(StoreUnavailable):
        store._retry(fail, time.monotonic() + seconds)  # noqa: SLF001
    assert store._is_down == is_down  # noqa: SLF001
