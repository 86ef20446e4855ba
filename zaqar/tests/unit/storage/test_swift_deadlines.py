# SPDX-License-Identifier: Apache-2.0
"""Calls of Swift by requests that are late."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable

client = pytest.importorskip('zaqar.storage.swift.concurrent_object_requests')


class Connections:
    """Connections to a Swift that answers late."""

    timeout = 4.0

    def __init__(self) -> None:
        self.requests = 0
        self.answer = threading.Event()

    def request(self, _work: Any) -> None:
        self.requests += 1
        self.answer.wait(60)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(('seconds', 'requests'), [(0.0, 0), (0.5, 1)])
def test_a_late_request_says_nothing_of_swift(
    seconds: float, requests: int
) -> None:
    connections: Any = Connections()
    calling = client.SwiftClient(connections, 1)
    with request_deadline.within(seconds), pytest.raises(StoreUnavailable):
        calling.ping()
    assert not calling.has_failed
    assert connections.requests == requests
    connections.answer.set()
    calling.close()
