# SPDX-License-Identifier: Apache-2.0
"""What is counted of calls of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from zaqar.metrics import Metrics, Sink
from zaqar.storage.base import OUTBOX, PENDING


class _Recorder(Sink):
    def __init__(self) -> None:
        self.counts: list[tuple[str, str, float]] = []
        self.calls: list[str] = []

    def add(self, name: str, labels: Mapping[str, str], count: float) -> None:
        self.counts.append((name, labels['how'], count))

    def took(self, name: str, labels: Mapping[str, str], secs: float) -> None:
        self.calls.append(labels['call'])

    def set(self, name: str, value: float) -> None:
        raise NotImplementedError


class _Store:
    def post(self, qid: str, messages: Sequence[Any]) -> Sequence[Any]:
        return messages


@pytest.fixture
def recorder() -> _Recorder:
    return _Recorder()


def test_messages_of_a_queue_are_counted(recorder: _Recorder) -> None:
    store = Metrics([recorder]).store(_Store(), 'message_store', 'fake')
    store.post('q', ['a', 'b'])
    assert recorder.counts == [('messages', 'post', 2)]


@pytest.mark.parametrize('qid', [OUTBOX, PENDING])
def test_those_of_the_notifier_are_calls_only(
    recorder: _Recorder, qid: str
) -> None:
    store = Metrics([recorder]).store(_Store(), 'message_store', 'fake')
    store.post(qid, ['a', 'b'])
    assert recorder.calls == ['post']
    assert not recorder.counts
