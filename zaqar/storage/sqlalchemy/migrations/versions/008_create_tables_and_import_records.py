# SPDX-License-Identifier: Apache-2.0
"""Records, messages and claims

Makes the tables of both planes, then copies what the reference service kept.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql, postgresql

from zaqar.storage.sqlalchemy.migrations import reference_service_import

revision = '008'
down_revision = '007'
branch_labels = None
depends_on = None

_MYSQL = ('mysql', 'mariadb')
_BIG = sa.BigInteger()
_BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), *_MYSQL)
_JSON = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), *_MYSQL)


def _ascii(length: int) -> sa.types.TypeEngine[Any]:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset='ascii', collation='ascii_bin'), *_MYSQL
    )


def _key(length: int) -> sa.types.TypeEngine[Any]:
    """Return a type whose values are compared as their UTF-8 bytes."""
    return (
        sa.String(length)
        .with_variant(mysql.VARBINARY(length * 4), *_MYSQL)
        .with_variant(postgresql.VARCHAR(length, collation='C'), 'postgresql')
    )


def upgrade() -> None:
    """Make the tables; see :mod:`.reference_service_import` for the rest.

    Whatever is there already stays: MySQL commits each step by itself, so an
    earlier try may have come half way.
    """
    _create_record()
    _create_message_queue()
    _create_message()
    _index_message()
    _create_claim()
    _create_post_token()
    _create_garbage()
    if context.is_offline_mode():
        op.execute(
            '-- Rows of the reference service are copied online only: run '
            'this without --sql where there are any.'
        )
    else:
        reference_service_import.adopt(
            op.get_bind(), context.config.print_stdout
        )


def _create_record() -> None:
    _table(
        'record',
        sa.Column('kind', _ascii(16), nullable=False),
        sa.Column('parent', _key(400), nullable=False),
        sa.Column('name', _key(128), nullable=False),
        sa.Column('data', _JSON, nullable=False),
        sa.Column('version', _BIG, nullable=False),
        sa.PrimaryKeyConstraint('kind', 'parent', 'name'),
    )


def _create_message_queue() -> None:
    _table(
        'message_queue',
        sa.Column('qid', _ascii(32), nullable=False),
        sa.Column('id', _BIG, nullable=False),
        sa.Column('next_seq', _BIG, nullable=False),
        sa.Column('live', _BIG),
        sa.Column('counted_at', _BIG),
        sa.Column('dropped_at', _BIG),
        sa.PrimaryKeyConstraint('qid'),
    )
    _index('message_queue_id', 'message_queue', 'id', unique=True)
    _index('message_queue_dropped', 'message_queue', 'dropped_at')


def _create_message() -> None:
    _table(
        'message',
        sa.Column('queue_id', _BIG, nullable=False),
        sa.Column('seq', _BIG, nullable=False),
        sa.Column('rnd', _ascii(16), nullable=False),
        sa.Column('state', sa.SmallInteger, nullable=False),
        sa.Column('wake_at', _BIG, nullable=False),
        sa.Column('expires_at', _BIG, nullable=False),
        sa.Column('created_at', _BIG, nullable=False),
        sa.Column('ttl', sa.Integer, nullable=False),
        sa.Column('client', _key(36), nullable=False),
        sa.Column('claim_id', _ascii(64)),
        sa.Column('claim_count', sa.Integer, nullable=False),
        sa.Column('checksum', _ascii(36)),
        sa.Column('public_id', _ascii(32)),
        sa.Column('body', _BODY, nullable=False),
        sa.PrimaryKeyConstraint('queue_id', 'seq'),
        postgresql_with={
            'fillfactor': 70,
            'autovacuum_vacuum_scale_factor': 0.02,
            'autovacuum_analyze_scale_factor': 0.02,
            'autovacuum_vacuum_cost_delay': 0,
        },
    )


def _index_message() -> None:
    _index(
        'message_free',
        'message',
        'queue_id',
        'state',
        'seq',
        'expires_at',
        where='state = 0',
    )
    _index(
        'message_waking',
        'message',
        'queue_id',
        'wake_at',
        'seq',
        'expires_at',
        'state',
        where='state > 0',
    )
    if op.get_context().dialect.name not in _MYSQL:
        _index(
            'message_delayed',
            'message',
            'queue_id',
            'state',
            'seq',
            where='state = 2',
        )
    _index(
        'message_claim',
        'message',
        'queue_id',
        'claim_id',
        where='claim_id IS NOT NULL',
    )
    _index(
        'message_public',
        'message',
        'queue_id',
        'public_id',
        where='public_id IS NOT NULL',
    )
    _index('message_expiry', 'message', 'expires_at')


def _create_claim() -> None:
    _table(
        'claim',
        sa.Column('queue_id', _BIG, nullable=False),
        sa.Column('id', _ascii(64), nullable=False),
        sa.Column('ttl', sa.Integer, nullable=False),
        sa.Column('expires_at', _BIG, nullable=False),
        sa.PrimaryKeyConstraint('queue_id', 'id'),
    )
    _index('claim_expiry', 'claim', 'expires_at')


def _create_post_token() -> None:
    _table(
        'post_token',
        sa.Column('queue_id', _BIG, nullable=False),
        sa.Column('token', _ascii(64), nullable=False),
        sa.Column('ids', _BODY, nullable=False),
        sa.Column('keep_until', _BIG, nullable=False),
        sa.PrimaryKeyConstraint('queue_id', 'token'),
    )
    _index('post_token_keep', 'post_token', 'keep_until')


def _create_garbage() -> None:
    op.create_table(
        'garbage',
        sa.Column('queue_id', _BIG, primary_key=True, autoincrement=False),
        mysql_engine='InnoDB',
        if_not_exists=True,
    )


def _table(name: str, *parts: Any, **options: Any) -> None:
    op.create_table(
        name,
        *parts,
        mysql_engine='InnoDB',
        sqlite_with_rowid=False,
        if_not_exists=True,
        **options,
    )


def _index(
    name: str,
    table: str,
    *columns: str,
    unique: bool = False,
    where: str | None = None,
) -> None:
    if not context.is_offline_mode():
        indexes = sa.inspect(op.get_bind()).get_indexes(table)
        if name in {index['name'] for index in indexes}:
            return
    condition = sa.text(where) if where else None
    op.create_index(
        name,
        table,
        list(columns),
        unique=unique,
        postgresql_where=condition,
        sqlite_where=condition,
    )
