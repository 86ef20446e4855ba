# SPDX-License-Identifier: Apache-2.0
"""Parameters of SQL statements: translated, and numbered where there are many.

Statements are written with ``:name``, which no database driver takes.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

T = TypeVar('T')

#: Keys of one statement, where there may be many.
CHUNK = 200

#: ``:name``, but neither ``::type`` nor a colon within a word.
_PARAMETER = re.compile(r'(?<![:\w]):(\w+)')

#: Characters of the longest text whose translation is cached: shared calls
#: make many different ones, of up to 60,000. psycopg caches up to 4096.
USUAL = 6000


def pyformat(sql: str) -> str:
    """Translate ``:name`` parameters for drivers that want ``%(name)s``."""
    return (_cached if len(sql) <= USUAL else _translated)(sql)


def _translated(sql: str) -> str:
    return _PARAMETER.sub(r'%(\1)s', sql.replace('%', '%%'))


_cached = functools.lru_cache(maxsize=1024)(_translated)


def _in_order(sql: str) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    """Translate parameters for SQLite, whose driver is slow to find names.

    They get no numbers, either: Python before 3.12.4 takes these for names,
    and warns of each with every statement.

    :returns: also what makes the values of the parameters a sequence
    """
    ordered = _PARAMETER.findall(sql)
    text = _PARAMETER.sub('?', sql)
    if len(ordered) > 1:
        return text, itemgetter(*ordered)
    return text, lambda values: [values[name] for name in ordered]


_cached_in_order = functools.lru_cache(maxsize=1024)(_in_order)


def question_marks(
    sql: str,
) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    """Translate parameters for SQLite; also return what orders values."""
    return (_cached_in_order if len(sql) <= USUAL else _in_order)(sql)


@functools.lru_cache(maxsize=1024)
def names(sql: str) -> tuple[str, ...]:
    """Return the parameters of a statement, each once."""
    return tuple(dict.fromkeys(_PARAMETER.findall(sql)))


def compact(sql: str) -> str:
    """Return SQL that was written in several lines in one, as caches count.

    :param sql: without blanks in literals
    """
    return ' '.join(sql.split())


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield what one statement takes at a time."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


@functools.lru_cache(maxsize=2048)
def placeholders(name: str, count: int) -> str:
    """Return the parameters ``:name0, :name1, ...``."""
    return ', '.join(f':{name}{index}' for index in range(count))


def placeholder_values(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return the values of :func:`placeholders`."""
    return {f'{name}{index}': value for index, value in enumerate(values)}
