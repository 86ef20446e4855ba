# SPDX-License-Identifier: Apache-2.0
"""What is known of notices and projects stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

import pytest

from zaqar.controllers.outbox_notices import ConfirmationRequest
from zaqar.models import Message
from zaqar.notification import fanout_share_per_project
from zaqar.notification.fanout_share_per_project import ProjectTurns, Read
from zaqar.storage.base import MessageStore


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


def _notices(project: str, *numbers: int) -> Iterator[Read]:
    for number in numbers:
        message = Message(
            id=f'{project}-{number}',
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
    monkeypatch.setattr(fanout_share_per_project, 'MAX_HELD', 20)
    monkeypatch.setattr(fanout_share_per_project, 'FEW', 1)
    turns = ProjectTurns(2, 2)
    store = cast(MessageStore, _Store())
    for number in range(0, 500, 5):
        # They are given back, and never return.
        turns.hold('c', list(_notices('p', *range(number, number + 5))))
        turns.give_back(store)
    sizes = [
        len(one) for one in vars(turns).values() if isinstance(one, Sized)
    ]
    assert max(sizes) <= 20


def test_what_one_has_under_way_keeps_no_other_project_waiting() -> None:
    turns, store = ProjectTurns(2, 2), _Store()
    turns.hold('c', list(_notices('quiet', 1)))
    assert turns.admit('n', 'loud')
    turns.begin_unstored('loud', 3, 3)
    # What comes now is stored.
    assert not turns.has_room
    assert not turns.admit('m', 'loud')
    assert turns.give_back(cast(MessageStore, store))
    assert store.released == ['quiet-1']
    assert turns.admit('quiet-1', 'quiet')


def test_those_that_are_too_many_leave_time_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (('MAX_HELD', 4), ('FEW', 1), ('RETURNING', 1)):
        monkeypatch.setattr(fanout_share_per_project, name, value)
    turns, store = ProjectTurns(2, 2), _Store()
    given = cast(MessageStore, store)
    turns.store('p', is_due=True)
    turns.store('p', is_due=True)
    for number in range(0, 120, 4):
        notices = list(_notices('p', *range(number, number + 4)))
        held = turns.hold(f'c{number}', notices)
    # They return one by one, in so many seconds.
    assert [one.seconds for one in held] == [120] * 4
    assert not turns.give_back(given)
    # All of them are given back, the oldest first, a few at a time.
    for number in range(60):
        turns.claim(['p', 'p'], is_all=True)
        turns.give_back(given)
        assert len(store.released) <= 6 * (number + 1)
    assert store.released[:2] == ['p-0', 'p-1']
    assert {*store.released} == {f'p-{number}' for number in range(120)}


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

    turns = ProjectTurns()
    projects = [Counted(number) for number in range(1000)]
    for project in projects:
        for _ in range(2):
            turns.store(project, is_due=True)
        turns.hold('c', list(_notices(project, 1)))
    Counted.looked = 0
    turns.give_back(cast(MessageStore, _Store()))
    assert Counted.looked < 50 * len(projects)
