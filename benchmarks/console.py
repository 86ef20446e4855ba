# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.console``: how soon the console shows a project.

A browser opens the page anew, signs in without Keystone, and shows the first
page of a thousand queues: with an empty cache, and with what it has read
before. The clock runs in the page, and stands while somebody would type.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Sequence

from selenium import webdriver

from benchmarks import databases, machine, program_options, report
from benchmarks.report import Table
from benchmarks.target import Target
from zaqar.tests.servers.chromium import chromium

SECTION = 'The console'

STORES = ('sqlite', 'postgresql', 'redis')

QUEUES = 1000

#: Milliseconds, and bytes of all files, that are promised.
MOST = 300
MOST_BYTES = 150 * 1024

#: Visits before the clock runs.
WARM_UP = 3

#: Notes when the dialog is there, signs in, and notes when the list is drawn.
_VISIT = """
const done = arguments[arguments.length - 1];
const when = (selector, act) => {
  const look = () => {
    const part = document.querySelector(selector);
    if (part) act(part); else requestAnimationFrame(look);
  };
  look();
};
when('dialog[open] input', (input) => {
  const [page] = performance.getEntriesByType('navigation');
  const opened = performance.now();
  input.value = arguments[0];
  document.getElementById('yes').click();
  when('#queues tbody tr', () => {
    const listed = performance.now();
    const files = performance.getEntriesByType('resource')
      .filter((one) => one.name.includes('/console'));
    done([opened, listed - opened, page.decodedBodySize
      + files.reduce((sum, one) => sum + one.decodedBodySize, 0)]);
  });
});
"""

Visit = tuple[float, float, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{QUEUES:,} queues, {options.visits} visits',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    table = Table(
        'Median ms from the address to the list of queues',
        ['store', 'cache', 'dialog', 'list', 'both', 'slowest', 'bytes', ''],
    )
    for _, context in databases.chosen(options.store or STORES):
        with context as source:
            table.rows += _measure(source, options.visits)
    print(table.text())
    report.write_section(
        options.markdown, SECTION, report.facts(facts), table.markdown()
    )
    return int(any(row[-1] for row in table.rows))


def _measure(source: databases.Source, visits: int) -> list[Sequence[str]]:
    """Return the rows of a store."""
    rows = []
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        target = Target(source.database(), pathlib.Path(folder))
        try:
            for number in range(QUEUES):
                target.queue(f'queue-{number:04}').post(3)
            with chromium() as chrome:
                for is_empty in (True, False):
                    chrome.execute_cdp_cmd(
                        'Network.setCacheDisabled', {'cacheDisabled': is_empty}
                    )
                    taken = [
                        _visit(chrome, target) for _ in range(WARM_UP + visits)
                    ]
                    cache = 'empty' if is_empty else 'full'
                    rows.append(_row(source, cache, taken[WARM_UP:]))
        finally:
            target.close(tidy=not source.is_ours)
    return rows


def _visit(chrome: webdriver.Chrome, target: Target) -> Visit:
    """Return milliseconds to the dialog and from there, and the bytes."""
    chrome.get('about:blank')
    chrome.get(f'{target.server.url}/console')
    opened, listed, size = chrome.execute_async_script(_VISIT, target.project)
    return opened, listed, size


def _row(
    source: databases.Source, cache: str, visits: Sequence[Visit]
) -> Sequence[str]:
    both = [opened + listed for opened, listed, _ in visits]
    size = max(bytes_read for *_, bytes_read in visits)
    faults = [
        *(['SLOW'] if statistics.median(both) > MOST else []),
        *(['HEAVY'] if size > MOST_BYTES else []),
    ]
    return (
        source.title,
        cache,
        f'{statistics.median(one for one, *_ in visits):.0f}',
        f'{statistics.median(one for _, one, _ in visits):.0f}',
        f'{statistics.median(both):.0f}',
        f'{max(both):.0f}',
        f'{size:,}',
        ', '.join(faults),
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('console', __doc__)
    add = parser.add_argument
    program_options.add_stores(parser, STORES)
    add('--visits', type=int, default=30, help='(%(default)s)')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
