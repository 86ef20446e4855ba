# SPDX-License-Identifier: Apache-2.0
"""Rounds of operations at a store and over HTTP, timed on some stores."""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Protocol

from benchmarks import databases
from benchmarks.depth import Timer
from benchmarks.target import Target


class Rounds(Protocol):
    """Rounds at the store, and over HTTP on one connection."""

    at_store: Timer
    over_http: Timer

    def round(self) -> None:
        """Do everything once."""

    def close(self) -> None:
        """End the connection."""


def timed(
    source: databases.Source,
    prepare: Callable[[Target], Rounds],
    *,
    warm_up: int,
    rounds: int,
) -> Sequence[tuple[str, Timer]]:
    """Return the times at the store and over HTTP, with names of these levels.

    :param warm_up: rounds before the clock runs
    """
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        target = Target(source.database(), pathlib.Path(folder))
        try:
            sides = prepare(target)
            for number in range(-warm_up, rounds):
                if number == 0:
                    sides.at_store, sides.over_http = Timer(), Timer()
                sides.round()
            sides.close()
        finally:
            target.close(tidy=not source.is_ours)
    return [('store', sides.at_store), ('HTTP', sides.over_http)]


def on_each(
    words: Sequence[str], measure: Callable[[databases.Source], None]
) -> None:
    """Measure each store, but for servers that are not installed.

    :param words: as of :func:`benchmarks.databases.chosen`
    """
    for name, context in databases.chosen(words):
        try:
            with context as source:
                measure(source)
        except databases.Missing as reason:
            if os.environ.get('CI'):
                raise
            print(f'{name} is skipped: {reason}', file=sys.stderr)
