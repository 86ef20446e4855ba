# SPDX-License-Identifier: Apache-2.0
"""Literals of arrays for PostgreSQL, as text.

psycopg examines the elements of each list to find out the type of an array,
in Python, which takes as long as the statement. Ours have a cast in the SQL.
"""

from collections.abc import Sequence


def array(values: Sequence[int | str | None]) -> str:
    """Return the text of an array of numbers or of texts."""
    return '{' + ','.join(map(_element, values)) + '}'


def _element(value: int | str | None) -> str:
    if value is None:
        return 'NULL'
    if isinstance(value, int):
        return str(value)
    text = value.replace('\\', '\\\\').replace('"', '\\"')
    return f'"{text}"'
