# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a history is seen."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from benchmarks.ledger import Listed, Outcome, Post
from zaqar.tests.functional.cluster.history import Answer, History, Verdict


def _history() -> History:
    """Return a history in which all is well."""
    return History(
        answers=[Answer(0.0, 1.0, 'POST', 201)],
        posts=[
            Post(1, ['a'], Outcome.ACKNOWLEDGED, ['1']),
            Post(1, ['b'], Outcome.ACKNOWLEDGED, ['2']),
            Post(1, ['c'], Outcome.UNKNOWN),
        ],
        followed=['a', 'b'],
        posted=['x', 'y'],
        claimed=['x'],
        deleted=['x'],
        reads=2,
        subscriptions=['q'],
        outages=[(100.0, 102.0)],
    )


def _verdict(history: History) -> Verdict:
    return history.judge([Listed('1', 'a'), Listed('2', 'b')], ['y'])


def test_all_is_well() -> None:
    assert _verdict(_history()).faults() == []


def test_what_is_refused_around_an_outage_is_excused() -> None:
    history = _history()
    history.answers += [
        Answer(99.0, 100.5, 'POST', 503),
        Answer(106.9, 107.0, 'POST', 503),
        Answer(101.0, 101.5, 'POST', 0),
    ]
    verdict = _verdict(history)
    assert len(verdict.failures) == 3
    assert verdict.faults() == []
    assert verdict.outage == 2


WRONG: dict[str, Callable[[History], object]] = {
    'answered 500': lambda h: h.answers.append(Answer(0, 1, 'GET', 500)),
    'refused though a node is writable': lambda h: h.answers.append(
        Answer(106.0, 107.1, 'GET', 503)
    ),
    'slow': lambda h: h.answers.append(Answer(0, 11, 'GET', 200)),
    'lost': lambda h: (h.posted.append('z'), h.claimed.append('z')),
    'doubled': lambda h: h.claimed.append('x'),
    'skipped': lambda h: h.followed.remove('a'),
    'repeated': lambda h: h.followed.append('a'),
    'there after its delete': lambda h: h.undone.append('x'),
    'stale': lambda h: h.stale.append('GET'),
    'silenced': lambda h: h.silenced.append('q'),
}


@pytest.mark.parametrize('kind', WRONG)
def test_what_is_wrong_is_told(kind: str) -> None:
    history = _history()
    WRONG[kind](history)
    (line,) = _verdict(history).faults()
    assert line.startswith(f'1 {kind}: ')


def test_an_answer_takes_its_time() -> None:
    history = History()
    history.note(time.monotonic() - 3, 'GET', 200)
    assert history.answers[0].end - history.answers[0].begin >= 3
