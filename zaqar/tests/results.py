# SPDX-License-Identifier: Apache-2.0
"""CSV files in the guides that hold what long runs of tests have shown."""

from __future__ import annotations

import csv
import pathlib
import subprocess
from collections.abc import Iterable, Sequence


def update(
    path: pathlib.Path,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    keys: int = 1,
) -> None:
    """Write rows in place of those whose first cells are the same.

    :param keys: how many cells tell a row from others
    """
    former: list[list[str]] = []
    if path.exists():
        with path.open(newline='') as file:
            former = list(csv.reader(file))[1:]
    table: dict[tuple[object, ...], Sequence[object]] = {
        tuple(row[:keys]): row for row in former
    }
    table |= {tuple(row[:keys]): row for row in rows}
    with path.open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(header)
        writer.writerows(table.values())


def commit() -> str:
    """Return the commit that is tested, with a ``+`` if there is more.

    That earlier results are written is no more.
    """
    name = _git('rev-parse', '--short=12', 'HEAD').strip()
    changed = _git('diff', 'HEAD', '--name-only', '--', ':!doc/*.csv').strip()
    return f'{name}+' if name and changed else name or 'unknown'


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ('git', *arguments), capture_output=True, text=True, check=False
    )
    return done.stdout
