# SPDX-License-Identifier: Apache-2.0
"""The projects that do most."""

from __future__ import annotations

import logging

import pytest

from zaqar import top_projects
from zaqar.top_projects import TopProjects


def test_the_log_and_metrics_name_who_does_most(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    values: dict[tuple[str, ...], float] = {}

    def record(name: str, value: float, *labels: str) -> None:
        assert name == 'top_projects'
        values[labels] = value

    tops = TopProjects(2, record, lambda: now)
    for project, count in (('a', 3), ('b', 5), ('c', 1)):
        for _ in range(count):
            tops.add(project, 10 if project == 'c' else 0, '')
    tops.add('a', 0, '429')
    now += top_projects.INTERVAL
    with caplog.at_level(logging.INFO):
        tops.add('b', 0, '404')
    assert [record.getMessage() for record in caplog.records] == [
        'Projects with most requests in 60 s: b 6, a 4',
        'Projects with most bytes in 60 s: c 10',
        'Projects with most rejections in 60 s: a 1',
    ]
    assert values['requests', 'b'] == 6
    assert values['requests', 'c'] == 0
    assert values['bytes', 'c'] == 10
    assert tops.facts()['requests'] == 'b 6, a 4'
    # Each report is of its own minute.
    now += top_projects.INTERVAL
    tops.add('d', 0, '')
    assert values['requests', 'b'] == 0


def test_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_projects, 'COUNTED', 10)
    now = 0.0
    named: set[str] = set()
    tops = TopProjects(50, lambda *labels: named.add(labels[-1]), lambda: now)
    for _ in range(3):
        for number in range(200):
            tops.add(f'p{number} {now}', 0, '')
        tops.add('busy', 0, '')
        now += top_projects.INTERVAL
        tops.add('busy', 0, '')
        assert len(tops.facts()['requests'].split(', ')) <= 21
    assert len(named) <= top_projects.NAMED
