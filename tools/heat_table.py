#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the tables of resource types into ``heat_plugins/README.rst``.

It loads the plug-ins as Heat does, so it runs in Heat's environment::

    .venv-heat/bin/python tools/heat_table.py [--check]

``--check`` writes nothing, and fails if the tables are out of date.
"""

from __future__ import annotations

import argparse
import inspect
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

TOP = pathlib.Path(__file__).resolve().parents[1]
PLUGINS = TOP / 'heat_plugins'
README = PLUGINS / 'README.rst'

BEGIN = '.. The rest is made by tools/heat_table.py from the plug-ins.\n'


def types() -> dict[str, Any]:
    """Return our resource types by name, as Heat loads them."""
    from oslo_config import cfg

    cfg.CONF([], project='heat', default_config_files=[])
    from heat.common import config  # noqa: F401
    from heat.engine import resources

    cfg.CONF.set_override('plugin_dirs', [str(PLUGINS)])
    resources.initialise()
    environment = resources.global_env()
    names = sorted(
        name
        for name in environment.get_types()
        if name.startswith('OS::Zaqar')
    )
    return {name: environment.get_class(name) for name in names}


def describe(kinds: dict[str, Any]) -> str:
    """Return the chapters of all types."""
    lines: list[str] = []
    for name, kind in kinds.items():
        lines += [name, '-' * len(name), '', inspect.getdoc(kind) or '', '']
        schemas = kind.properties_schema
        lines += _table(
            ('Property', 'Type', 'Help'), _properties(schemas), '25 15 60'
        )
        shown = sorted(kind.attributes_schema.items())
        rows = [(f'``{n}``', s.type, s.description) for n, s in shown]
        if rows:
            head = ('Attribute', 'Type', 'Help')
            lines += _table(head, rows, '25 15 60')
    return '\n'.join(lines).rstrip() + '\n'


def _properties(
    schemas: dict[str, Any], prefix: str = ''
) -> Iterator[tuple[str, str, str]]:
    """Return a row for each property and each key of a map."""
    order = sorted(schemas.items(), key=lambda i: (not i[1].required, i[0]))
    for name, schema in order:
        yield f'``{prefix}{name}``', str(schema.type), _help(schema, prefix)
        if schema.type == 'Map' and schema.schema:
            nested = {str(k): v for k, v in schema.schema.items()}
            yield from _properties(nested, f'{prefix}{name}.')


def _help(schema: Any, prefix: str) -> str:
    """Return description, limits and default of a property, as sentences."""
    parts = [schema.description]
    limits = list(schema.constraints)
    if schema.type == 'List' and schema.schema:
        limits += [c for s in schema.schema.values() for c in s.constraints]
    parts += [_limit(limit) for limit in limits]
    if schema.default is not None:
        parts.append(f'Default: ``{schema.default}``.')
    if schema.required:
        parts.append('*Required.*')
    if not prefix:
        how = 'Updated in place' if schema.update_allowed else 'Replaces'
        parts.append(f'*{how}.*')
    return ' '.join(parts)


def _limit(limit: Any) -> str:
    """Return a constraint as a sentence."""
    pattern = getattr(limit, 'pattern', None)
    return (
        f'Pattern: ``{pattern}``.' if pattern else f'{limit}'.rstrip('.') + '.'
    )


def _table(
    head: Iterable[str], rows: Iterable[Iterable[str]], widths: str
) -> list[str]:
    lines = ['.. list-table::', f'   :widths: {widths}', '']
    lines.insert(2, '   :header-rows: 1')
    for row in (head, *rows):
        first, *rest = row
        lines.append(f'   * - {first}')
        lines += [f'     - {cell}' for cell in rest]
    return [*lines, '']


def main() -> int:
    """Write or check the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true')
    arguments = parser.parse_args()
    # Heat parses the arguments, too.
    sys.argv[1:] = []
    text = README.read_text()
    head, _, _ = text.partition(BEGIN)
    updated = f'{head}{BEGIN}\n{describe(types())}'
    if updated == text:
        return 0
    if arguments.check:
        print(f'{README} is out of date: run tools/heat_table.py')
        return 1
    README.write_text(updated)
    return 0


if __name__ == '__main__':
    sys.exit(main())
