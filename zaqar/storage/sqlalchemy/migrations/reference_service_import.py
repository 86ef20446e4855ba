# SPDX-License-Identifier: Apache-2.0
"""Import of the reference service's rows into the table ``record``.

Used by revision 008 alone. The old tables are only read, to allow a way back.
Records that exist already stay unchanged.
"""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

#: Rows copied at once.
BATCH = 1000

_RECORD = sa.table(
    'record',
    sa.column('kind', sa.String),
    sa.column('parent'),
    sa.column('name'),
    sa.column('data'),
    sa.column('version', sa.BigInteger),
)

Row = Mapping[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class _Source:
    """A table of the reference service.

    :ivar parent: the column of the parent, None for records without one
    :ivar json: the column that holds JSON, None for none
    :ivar data: makes the new data of a row; ValueError for bad JSON
    :ivar key: makes the name of the record, if it is not that of the row
    """

    table: str
    kind: str
    parent: str | None
    name: str
    json: str | None
    others: tuple[str, ...]
    data: Callable[[Row], Mapping[str, Any]]
    key: Callable[[Row], str] | None = None

    def select(self) -> sa.Select[Any]:
        """Return the query for all rows."""
        names = (self.parent, self.name, self.json, *self.others)
        columns: list[sa.ColumnClause[Any]] = [
            sa.column(name)
            for name in dict.fromkeys(names)
            if name is not None
        ]
        return sa.select(*columns).select_from(sa.table(self.table))


def adopt(connection: sa.Connection, say: Say) -> None:
    """Copy the rows of all old tables that are there; print progress."""
    present = set(sa.inspect(connection).get_table_names())
    for source in SOURCES:
        if source.table in present:
            _copy(connection, source, say)


def _copy(connection: sa.Connection, source: _Source, say: Say) -> None:
    seen = 0
    insert = _insert_missing(connection.dialect.name)
    with _reader(connection) as reader:
        result = reader.execute(
            source.select(),
            execution_options={'stream_results': True, 'yield_per': BATCH},
        )
        for rows in result.mappings().partitions():
            connection.execute(
                insert,
                [_values(connection, source, dict(row), say) for row in rows],
            )
            seen += len(rows)
            say(f'{source.table}: {seen} rows read')
    count = connection.scalar(
        sa.select(sa.func.count()).where(_RECORD.c.kind == source.kind)
    )
    say(f'{source.table}: done, {count} records of kind "{source.kind}"')


@contextlib.contextmanager
def _reader(connection: sa.Connection) -> Iterator[sa.Connection]:
    """Yield a connection that can read while the other one writes."""
    if connection.dialect.name in ('postgresql', 'sqlite'):
        yield connection
    else:
        # MySQL sends a result whole before it takes another statement.
        with connection.engine.connect() as other:
            yield other


def _insert_missing(dialect: str) -> Any:
    """Return an INSERT that ignores existing records."""
    if dialect == 'postgresql':
        return postgresql.insert(_RECORD).on_conflict_do_nothing()
    if dialect == 'sqlite':
        return sqlite.insert(_RECORD).on_conflict_do_nothing()
    return mysql.insert(_RECORD).on_duplicate_key_update(
        version=_RECORD.c.version
    )


def _values(
    connection: sa.Connection, source: _Source, row: Row, say: Say
) -> dict[str, Any]:
    parent = (row[source.parent] or '') if source.parent else ''
    name = source.key(row) if source.key else row[source.name]
    try:
        data = source.data(row)
    except (ValueError, RecursionError):
        say(
            f'{source.table}: "{name}" of "{parent}" has unreadable '
            f'{source.json}, which is left out'
        )
        data = source.data({**row, str(source.json): None})
    # Those columns are compared as bytes, and declared so on MySQL.
    encode = connection.dialect.name not in ('postgresql', 'sqlite')
    return {
        'kind': source.kind,
        'parent': parent.encode() if encode else parent,
        'name': name.encode() if encode else name,
        'data': json.dumps(data, separators=(',', ':')).encode(),
        'version': 1,
    }


def _queue(row: Row) -> Mapping[str, Any]:
    # A new incarnation, as for a new queue.
    return {
        'qid': secrets.token_hex(16),
        'metadata': _decode(row['metadata'], dict),
    }


def _pool(row: Row) -> Mapping[str, Any]:
    return {
        'uri': row['uri'],
        'weight': row['weight'],
        'options': _decode(row['options'], dict),
        # Emptied when its flavor was deleted.
        'flavor': row['flavor'] or None,
        # All queues in it are noted, see below.
        'noted': True,
    }


def _flavor(row: Row) -> Mapping[str, Any]:
    return {'capabilities': _decode(row['capabilities'], list)}


def _entry(row: Row) -> Mapping[str, Any]:
    return {'pool': row['pool']}


def _note(row: Row) -> Mapping[str, Any]:
    # That the queue may be in the pool, found by the pool.
    project = row['project'] or ''
    return {'kind': 'queue', 'project': project, 'name': row['queue']}


def _owner(row: Row) -> Mapping[str, Any]:
    # Whose the flavor is, found by the flavor.
    return {'project': row['project'] or ''}


def _hash(*texts: str | None) -> str:
    joined = '\0'.join(text or '' for text in texts)
    return hashlib.sha256(joined.encode()).hexdigest()


def _decode(column: Any, expected: type) -> Any:
    """Read a JSON column; NULL, nothing and ``null`` are empty."""
    text = column if isinstance(column, str) else bytes(column or b'').decode()
    value = json.loads(text, parse_constant=_refuse) if text else None
    if value is None:
        return expected()
    if not isinstance(value, expected):
        raise ValueError(value)
    return value


def _refuse(constant: str) -> None:
    # NaN and its like, which are no JSON.
    raise ValueError(constant)


SOURCES = (
    _Source('Queues', 'queue', 'project', 'name', 'metadata', (), _queue),
    _Source(
        'Pools',
        'pool',
        None,
        'name',
        'options',
        ('uri', 'weight', 'flavor'),
        _pool,
    ),
    _Source(
        'Flavors', 'flavor', 'project', 'name', 'capabilities', (), _flavor
    ),
    _Source(
        'Flavors',
        'flavor_owner',
        'name',
        'name',
        None,
        ('project',),
        _owner,
        lambda row: _hash(row['project']),
    ),
    _Source(
        'Catalogue', 'catalogue', 'project', 'queue', None, ('pool',), _entry
    ),
    _Source(
        'Catalogue',
        'pooled',
        'pool',
        'queue',
        None,
        ('project',),
        _note,
        lambda row: _hash(row['project'], row['queue']),
    ),
)
