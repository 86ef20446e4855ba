# SPDX-License-Identifier: Apache-2.0
"""The check of the soak detects every kind of fault."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.ledger import Listed, Outcome, Post, violations

POSTS = [
    Post(1, ['a', 'b'], Outcome.ACKNOWLEDGED, ['1', '2']),
    Post(2, ['c'], Outcome.ACKNOWLEDGED, ['3']),
    Post(1, ['d'], Outcome.ACKNOWLEDGED, ['4']),
    Post(2, ['e', 'f'], Outcome.UNKNOWN),
]
LISTING = [
    Listed('1', 'a'),
    Listed('2', 'b'),
    Listed('3', 'c'),
    Listed('4', 'd'),
    Listed('5', 'e'),
    Listed('6', 'f'),
]


def test_a_whole_queue_is_fine() -> None:
    assert violations(POSTS, LISTING) == []


def test_an_unknown_post_may_be_missing() -> None:
    assert violations(POSTS, LISTING[:4]) == []


def test_posters_may_overtake_each_other() -> None:
    assert violations(POSTS, [LISTING[2], *LISTING[:2], *LISTING[3:]]) == []


@pytest.mark.parametrize(
    ('listing', 'line'),
    [
        (LISTING[1:], 'a was acknowledged and is lost'),
        ([*LISTING, Listed('7', 'a')], 'a (acknowledged) is there 2 times'),
        ([*LISTING, Listed('7', 'e')], 'e (unknown) is there 2 times'),
        ([*LISTING, Listed('7', 'x')], 'x was never posted'),
        ([*LISTING, Listed('5', 'x')], 'the id 5 is there 2 times'),
        (LISTING[:5], 'e: a part of its post is there'),
        (
            [*LISTING[:2], Listed('9', 'c'), *LISTING[3:]],
            'c has another id than was acknowledged',
        ),
        (
            [LISTING[3], *LISTING[:3], *LISTING[4:]],
            'd stands before what was posted before it',
        ),
        (
            [LISTING[1], LISTING[0], *LISTING[2:]],
            'b stands before what was posted before it',
        ),
    ],
)
def test_a_fault_is_seen(listing: Sequence[Listed], line: str) -> None:
    assert line in violations(POSTS, listing)


def test_an_acknowledgement_without_ids_is_seen() -> None:
    posts = [Post(1, ['a'], Outcome.ACKNOWLEDGED)]
    lines = violations(posts, LISTING[:1])
    assert lines == ['a: acknowledged with 0 ids']
