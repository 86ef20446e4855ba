# SPDX-License-Identifier: Apache-2.0
"""What is known of notices and projects stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from zaqar.controllers.outbox_notices import ConfirmationRequest
from zaqar.notification import fanout_fairness_between_projects
from zaqar.notification.fanout_fairness_between_projects import (
    HOLD,
    ProjectShares,
    Read,
)
from zaqar.objects import Message
from zaqar.storage.abstract_stores import MessageStore


class _Store:
    """Takes what is given back."""

    clock: Any = None

    def __init__(self) -> None:
        self.clock = self
        self.released: list[str] = []

    def now(self) -> int:
        return 0

    def settle(
        self, qid: str, claim_id: str, settlements: Any, *, now: int
    ) -> None:
        self.released += [one.message_id for one in settlements]


def _id(number: int) -> str:
    return f'{number:032x}'


def _notices(project: str, *numbers: int) -> Iterator[Read]:
    for number in numbers:
        message = Message(
            id=_id(number),
            body=b'',
            ttl=1,
            client='',
            created_at=0,
            expires_at=1,
        )
        yield message, ConfirmationRequest(project, 'q', 's', '')


def test_what_others_have_fanned_out_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout_fairness_between_projects, 'MAX_HELD', 20)
    shares, store = ProjectShares(2, 2), _Store()
    for number in range(0, 500, 5):
        # Their time is over, and they never return.
        now = number * HOLD * 1000
        notices = list(_notices('p', *range(number, number + 5)))
        assert len(shares.hold('c', notices, now)) == 5
    # Nor are more remembered than there is room for.
    notices = list(_notices('q', *range(1000, 1100)))
    assert len(shares.hold('d', notices, now)) == 100
    assert len(shares.hold('e', notices, now)) == 100
    shares.give_back(cast(MessageStore, store), everything=True)
    assert store.released == [
        _id(number) for number in [*range(495, 500), *range(1000, 1100)]
    ]
    assert not shares.give_back(cast(MessageStore, store), everything=True)


def test_what_one_has_under_way_keeps_no_other_project_waiting() -> None:
    shares, store = ProjectShares(2, 2), _Store()
    shares.hold('c', list(_notices('quiet', 3, 5)), 0)
    assert shares.admit(_id(6), 'loud')
    shares.begin_unstored('loud', 3, 3)
    # What comes now is stored.
    assert not shares.has_room
    assert not shares.admit(_id(7), 'loud')
    assert shares.give_back(cast(MessageStore, store))
    assert store.released == [_id(3)]
    # In their order.
    assert not shares.admit(_id(8), 'quiet')
    assert shares.admit(_id(3), 'quiet')


def test_those_that_are_too_many_leave_time_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout_fairness_between_projects, 'RETURNING', 1)
    shares, store = ProjectShares(2, 2), _Store()
    given = cast(MessageStore, store)
    for _ in range(2):
        shares.store('p', 'a host', is_due=True)
    for number in range(0, 120, 4):
        notices = list(_notices('p', *range(number, number + 4)))
        held = shares.hold(f'c{number}', notices, 0)
    # They return one by one, in so many seconds.
    assert [one.seconds for one in held] == [120] * 4
    assert not shares.give_back(given)
    # All of them are given back, the oldest first, one at a time, since each
    # is expected to become two.
    for number in range(120):
        shares.due.claim([], is_all=True)
        assert shares.give_back(given)
        assert len(store.released) == number + 1
    assert store.released == [_id(number) for number in range(120)]


def test_the_shares_of_many_projects_take_no_time_for_each_pair_of_them() -> (
    None
):
    class Counted(str):
        """A project that counts what looks it up."""

        looked = 0
        __slots__ = ()
        __eq__ = str.__eq__

        def __hash__(self) -> int:
            Counted.looked += 1
            return super().__hash__()

    shares = ProjectShares()
    projects = [Counted(number) for number in range(1000)]
    for project in projects:
        for _ in range(2):
            shares.store(project, 'a host', is_due=True)
        shares.hold('c', list(_notices(project, 1)), 0)
    Counted.looked = 0
    shares.give_back(cast(MessageStore, _Store()))
    assert Counted.looked < 50 * len(projects)
