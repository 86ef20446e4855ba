# SPDX-License-Identifier: Apache-2.0
"""Who waits while pending deliveries are counted."""

from __future__ import annotations

import threading
from typing import Any

from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.pending_delivery_counts_by_subscription import (
    PendingDeliveryCounts,
)
from zaqar.objects import Page
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER


def test_one_request_counts_and_others_get_the_last_counts(
    tmp_path: Any, monkeypatch: Any
) -> None:
    now = 0.0
    counts = PendingDeliveryCounts(lambda: now)
    store = DRIVER.open_messages(f'sqlite:///{tmp_path}/zaqar.sqlite', {})
    cipher = Cipher(None)
    first = counts.read('pool', store, cipher)
    now = 20.0
    looks, ends = threading.Event(), threading.Event()

    def slow(*given: Any, **more: Any) -> Page:
        looks.set()
        ends.wait(60)
        return page(*given, **more)

    page = store.list
    monkeypatch.setattr(store, 'list', slow)
    one = threading.Thread(target=counts.read, args=('pool', store, cipher))
    one.start()
    assert looks.wait(60)
    other = threading.Thread(
        target=lambda: seen.append(counts.read('pool', store, cipher))
    )
    seen: list[Any] = []
    other.start()
    other.join(50)
    assert seen == [first]
    ends.set()
    one.join()
    other.join()
