# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged survives the process that was told so."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Set
from itertools import groupby
from typing import Any

import pytest

from zaqar.tests.contract import victim
from zaqar.tests.contract.harnesses import Feature, Harness
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, message

#: Answers after which the process is killed.
ANSWERS = 40

#: Seconds a new process may take to give one.
PATIENCE = 60.0


def reports_of_the_killed(
    work: Callable[..., None], harness: Harness, uri: str, qid: str
) -> list[Any]:
    """Run work in a process, kill it in the middle, return its reports."""
    # A new interpreter: stores are opened after a fork, never before.
    spawning = multiprocessing.get_context('spawn')
    ours, theirs = spawning.Pipe(duplex=False)
    child = spawning.Process(
        target=work, args=(type(harness), uri, qid, theirs), daemon=True
    )
    child.start()
    theirs.close()
    reports: list[Any] = []
    while len(reports) < ANSWERS:
        assert ours.poll(PATIENCE), 'the process reports nothing'
        reports.append(ours.recv())
    child.kill()
    child.join()
    try:
        while True:
            reports.append(ours.recv())
    except EOFError:
        return reports


def claimable(queue: Probe, is_all: Callable[[Set[str]], bool]) -> Set[str]:
    """Claim what is free, until that is all or for a few seconds.

    A database takes a moment to notice that a client has died, and claims
    skip meanwhile what its transaction holds.
    """
    end, left = time.monotonic() + 10, set[str]()
    while True:
        claim = queue.claim(2000, ttl=60)
        left.update(ids(claim.messages) if claim else ())
        if is_all(left) or time.monotonic() > end:
            return left
        time.sleep(0.05)


def test_posts_survive_the_death_of_the_poster(
    harness: Harness, uri: str, queue: Probe
) -> None:
    reports = reports_of_the_killed(
        victim.post_and_report, harness, uri, queue.qid
    )
    stored = list(queue.walk())
    acknowledged = [name for names in reports for name in names]
    assert ids(stored)[: len(acknowledged)] == acknowledged
    # One more post may have been made whose answer nobody heard.
    assert len(stored) - len(acknowledged) in (0, 3)
    sizes = {len(list(group)) for _, group in groupby(bodies(stored))}
    assert sizes == {3}
    queue.post('goes on')
    assert queue.everything()[-1] == 'goes on'


def test_deletions_survive_and_claims_lapse_after_the_death_of_the_claimer(
    harness: Harness,
    uri: str,
    queue: Probe,
    hand: Hand,
    many: Callable[[int], int],
) -> None:
    posted = queue.post(*range(many(2000)), ttl=7200)
    reports = reports_of_the_killed(
        victim.claim_and_report, harness, uri, queue.qid
    )
    claimed = {name for act, name in reports if act == 'claimed'}
    deleted = {name for act, name in reports if act == 'deleted'}
    # The claimer went by its own clock, which is ours.
    hand.move(3600)

    def is_all(left: Set[str]) -> bool:
        # At most one deletion was made that nobody heard of.
        return len(set(posted) - left - deleted) <= 1

    left = claimable(queue, is_all)
    assert not left & deleted
    assert is_all(left)
    # Nor more than one claim.
    assert len(claimed - deleted) <= 1


@pytest.mark.needs(Feature.GROUPS)
def test_groups_go_on_in_order_after_the_death_of_the_claimer(
    harness: Harness,
    uri: str,
    queue: Probe,
    hand: Hand,
    many: Callable[[int], int],
) -> None:
    names = ['a', 'b', 'c']
    posts = [
        message(number, group=names[number % 3], ttl=7200)
        for number in range(many(600))
    ]
    posted = queue.send(posts)
    reports = reports_of_the_killed(
        victim.claim_and_report, harness, uri, queue.qid
    )
    deleted = {name for act, name in reports if act == 'deleted'}
    hand.move(3600)
    left: dict[str | None, list[int]] = {}
    count = 0
    while claim := queue.claim(7):
        for item in claim.messages:
            assert item.id not in deleted
            left.setdefault(item.group, []).append(int(item.body))
        count += len(claim.messages)
        queue.delete_many(*ids(claim.messages), claim_ids=[claim.id])
    # At most one deletion was made that nobody heard of.
    assert len(posted) - len(deleted) - count <= 1
    for numbers in left.values():
        assert numbers == [*range(numbers[0], numbers[-1] + 1, 3)]
    assert queue.everything() == []


def test_what_was_settled_survives_the_death_of_the_claimer(
    harness: Harness,
    uri: str,
    queue: Probe,
    hand: Hand,
    many: Callable[[int], int],
) -> None:
    posted = queue.post(*range(3 * many(600)), ttl=7200)
    reports = reports_of_the_killed(
        victim.settle_and_report, harness, uri, queue.qid
    )
    settled = [report[1:] for report in reports if report[0] == 'settled']
    deleted = {one for one, _ in settled}
    later = {two for _, two in settled}
    # By then claims have ended, and no delay has.
    hand.move(300)

    def is_all(left: Set[str]) -> bool:
        # One more settling may have been done that nobody heard of.
        return len(set(posted) - left - deleted - later) in (0, 2)

    left = claimable(queue, is_all)
    assert not left & (deleted | later)
    claimed = {report[1] for report in reports if report[0] == 'claimed'}
    assert claimed <= left
    assert is_all(left)
    hand.move(600)
    again = queue.take(len(posted)).messages
    assert later <= {item.id for item in again if item.reason == 'later'}
    assert not deleted & set(ids(again))
