# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.worker_memory``: memory of an API worker after start.

A server of this tree and one of another tree start in turns on each store, and
are asked one thing. At most 0.7 times the memory of the other build is
promised.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence

from benchmarks import (
    builds,
    databases,
    machine,
    program_options,
    report,
    target,
)

SECTION = 'Memory of a worker'

STORES = ('redis', 'sqlite')

#: Part of the other build's memory that a worker may take.
MOST_RATIO = 0.7

_STARTED = re.compile(r'Started API worker 1 as process (\d+)')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = machine.description(options.against)
    print(report.facts(facts))
    head = ['store', 'memory', 'base MiB', 'new MiB', 'ratio', '']
    table = report.Table('API worker after start', head)
    for name, chosen in databases.chosen(options.store or STORES):
        with chosen as source:
            table.rows += _measured(source.title or name, source, options)
    print(table.text())
    report.write_section(
        options.markdown, SECTION, report.facts(facts), table.markdown()
    )
    return int(any(row[-1] for row in table.rows))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('worker_memory', __doc__)
    add = parser.add_argument
    program_options.add_other_build(parser, required=True)
    program_options.add_databases(parser, STORES)
    add('--starts', type=int, default=3, help='of each (%(default)s)')
    return parser.parse_args(arguments)


def _measured(
    title: str, source: databases.Source, options: argparse.Namespace
) -> Iterator[Sequence[str]]:
    """Yield the rows of a store."""
    sides = (options.against, builds.THIS)
    starts = [
        [_after_start(source, root) for root in sides]
        for _ in range(options.starts)
    ]
    for kind in starts[0][0]:
        base, new = (
            [one[side][kind] for one in starts] for side in range(len(sides))
        )
        yield (
            title,
            kind,
            *(f'{statistics.median(one) / 2**20:.1f}' for one in (base, new)),
            report.ratio(base, new),
            'HEAVY' if report.middle_ratio(base, new) > MOST_RATIO else '',
        )


def _after_start(
    source: databases.Source, root: pathlib.Path
) -> dict[str, int]:
    """Return the bytes of a worker: all, and its part of what is shared."""
    with (
        tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
        contextlib.ExitStack() as stack,
    ):
        url = source.database()
        server = builds.Server(
            pathlib.Path(folder), rest=target.settings(url), workers=1
        )
        server.root = root
        target.create_tables(server, url)
        server.start()
        stack.callback(server.stop)
        found = _STARTED.search(server.log.read_text())
        assert found is not None, 'the log names no worker'
        pid = int(found[1])
        return {'RSS': machine.rss(pid), 'PSS': machine.pss(pid)}


if __name__ == '__main__':
    sys.exit(main())
