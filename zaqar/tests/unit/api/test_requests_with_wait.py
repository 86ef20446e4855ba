# SPDX-License-Identifier: Apache-2.0
"""Requests that may wait, and those that may not."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.api import requests_with_wait
from zaqar.api.requests_with_wait import Waiting
from zaqar.objects import Scope
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import Turn
from zaqar.waiting.waiters import Waiters

SCOPE = Scope('p', 'q')
LINE = Waiting(takes=True, count=len, nothing=())


class Observer:
    def begin(self, scope: Scope) -> None: ...

    def end(self, scope: Scope) -> None: ...

    def expire_at(self, until: float) -> None: ...


def attempt(waiters: Waiters, turn: Turn, result: tuple[Any, ...]) -> Any:
    return requests_with_wait.attempt(
        waiters, turn, SCOPE, LINE, 20, lambda: result
    )


def test_a_request_without_messages_is_postponed() -> None:
    waiters = Waiters(Observer())
    turn = Turn(Turns())
    assert attempt(waiters, turn, ()) is None
    assert turn.is_missed
    assert not turn.is_refused
    assert len(waiters) == 1


@pytest.mark.parametrize('result', [(), ('message',)])
def test_without_room_a_request_is_answered_at_once(
    result: tuple[Any, ...],
) -> None:
    waiters = Waiters(Observer())
    turn = Turn(Turns(), lambda: 1 << 40)
    assert attempt(waiters, turn, result) == result
    assert not turn.is_missed
    # Who has messages need not come back.
    assert turn.is_refused is not bool(result)
    assert len(waiters) == 0
