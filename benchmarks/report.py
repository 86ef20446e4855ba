# SPDX-License-Identifier: Apache-2.0
"""Tables for the terminal and for Markdown files."""

from __future__ import annotations

import csv
import pathlib
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: How a new file begins.
HEADING = '# Results\n\nMade by the programs here; see README.rst.\n\n'


def quantile(values: Iterable[float], part: float) -> float:
    """Return the value that a part of some values stay below."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def middle_ratio(base: Sequence[float], new: Sequence[float]) -> float:
    """Return the middle one of the ratios of neighbouring turns."""
    return statistics.median(_ratios(base, new))


def ratio(base: Sequence[float], new: Sequence[float]) -> str:
    """Return that as text, with the least and the greatest of them."""
    ratios = _ratios(base, new)
    middle = f'{statistics.median(ratios):.2f}'
    if len(ratios) == 1:
        return middle
    return f'{middle} ({min(ratios):.2f} to {max(ratios):.2f})'


def _ratios(base: Sequence[float], new: Sequence[float]) -> Sequence[float]:
    return [n / b for b, n in zip(base, new, strict=True)]


@dataclass
class Table:
    """Rows of text under headings; all but the first column are figures."""

    title: str
    head: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def text(self) -> str:
        """Return it for a terminal."""
        lines = [self._line(row) for row in (self.head, *self.rows)]
        rule = '  '.join('-' * width for width in self._widths())
        return '\n'.join([self.title, lines[0], rule, *lines[1:], ''])

    def markdown(self) -> str:
        """Return it for a Markdown file."""
        rule = ['---', *('---:' for _ in self.head[1:])]
        rows = (self.head, rule, *self.rows)
        lines = ['| ' + ' | '.join(row) + ' |' for row in rows]
        return '\n'.join([f'### {self.title}', '', *lines, ''])

    def _line(self, row: Sequence[str]) -> str:
        widths = self._widths()
        first = row[0].ljust(widths[0])
        rest = [
            cell.rjust(width)
            for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        return '  '.join([first, *rest]).rstrip()

    def _widths(self) -> list[int]:
        columns = zip(self.head, *self.rows, strict=True)
        return [max(map(len, column)) for column in columns]


def facts(items: Mapping[str, str]) -> str:
    """Return headings and what stands behind them as a Markdown list."""
    return ''.join(f'- **{key}:** {text}\n' for key, text in items.items())


def write_csv(path: pathlib.Path, table: Table, *, anew: bool = False) -> None:
    """Put a table into a CSV file in place of its former rows.

    Those are the ones with the same text in the first column; others stay if
    the file has the same columns.

    :param anew: whether all former rows go
    """
    mine = {row[0] for row in table.rows}
    rows: list[Sequence[str]] = []
    if path.exists() and not anew:
        with path.open(newline='') as file:
            head, *former = csv.reader(file)
        if head == [*table.head]:
            rows = [row for row in former if row[0] not in mine]
    with path.open('w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerows([table.head, *rows, *table.rows])


def write_section(path: pathlib.Path | None, title: str, *parts: str) -> None:
    """Put a section into a Markdown file in place of its former self.

    A new one comes after the others of the same program, whose titles are the
    same up to a comma.

    :param path: None for no file
    """
    if path is None:
        return
    text = '\n'.join(parts)
    old = path.read_text() if path.exists() else HEADING
    sections = re.split(r'(?m)^(?=## )', old)
    new = f'## {title}\n\n{text.strip()}\n\n'
    for index, section in enumerate(sections):
        if section.startswith(f'## {title}\n'):
            sections[index] = new
            break
    else:
        alike = f'## {title.partition(",")[0]}'
        places = [
            index
            for index, section in enumerate(sections, 1)
            if section.partition('\n')[0].partition(',')[0] == alike
        ]
        place = places[-1] if places else len(sections)
        # The last one of the file may end without a blank line.
        sections[place - 1] = sections[place - 1].rstrip() + '\n\n'
        sections.insert(place, new)
    path.write_text(''.join(sections).rstrip() + '\n')
