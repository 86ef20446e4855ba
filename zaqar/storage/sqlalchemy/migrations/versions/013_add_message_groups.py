# SPDX-License-Identifier: Apache-2.0
"""Groups of messages, which are in order each by itself

No message has a group yet, so that there are none.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = '013'
down_revision = '012'
branch_labels = None
depends_on = None

_MYSQL = ('mysql', 'mariadb')
_BIG = sa.BigInteger()
_KEY = sa.String(128).with_variant(
    mysql.VARCHAR(128, charset='ascii', collation='ascii_bin'), *_MYSQL
)


def upgrade() -> None:
    """Add all that an earlier try has not added."""
    if 'grouped' not in _columns('message_queue'):
        op.add_column(
            'message_queue',
            sa.Column(
                'grouped',
                sa.SmallInteger(),
                nullable=False,
                server_default=sa.text('0'),
            ),
        )
    op.create_table(
        'message_group',
        sa.Column('queue_id', _BIG, nullable=False),
        sa.Column('group_key', _KEY, nullable=False),
        sa.Column('state', sa.SmallInteger(), nullable=False),
        sa.Column('wake_at', _BIG, nullable=False),
        sa.Column('head_seq', _BIG, nullable=False),
        sa.Column('reached', _BIG, nullable=False),
        sa.Column('tail_seq', _BIG, nullable=False),
        sa.Column('keep_until', _BIG, nullable=False),
        sa.PrimaryKeyConstraint('queue_id', 'group_key'),
        if_not_exists=True,
        mysql_engine='InnoDB',
        sqlite_with_rowid=False,
        postgresql_with={
            'fillfactor': 70,
            'autovacuum_vacuum_scale_factor': 0.02,
            'autovacuum_analyze_scale_factor': 0.02,
            'autovacuum_vacuum_cost_delay': 0,
        },
    )
    _index('message_group', 'expiry', '', 'keep_until')
    _index(
        'message_group', 'free', 'state = 0', 'queue_id', 'state', 'head_seq'
    )
    _index(
        'message_group',
        'waking',
        'state = 1',
        'queue_id',
        'wake_at',
        'head_seq',
    )
    _index(
        'message',
        'group_order',
        'group_key IS NOT NULL',
        'queue_id',
        'group_key',
        'seq',
        'expires_at',
    )
    if op.get_context().dialect.name not in _MYSQL:
        _index(
            'message',
            'in_group',
            'state = 3',
            'queue_id',
            'state',
            'seq',
            'expires_at',
        )


def _columns(table: str) -> set[str]:
    if context.is_offline_mode():
        return set()
    columns = sa.inspect(op.get_bind()).get_columns(table)
    return {column['name'] for column in columns}


def _index(table: str, name: str, where: str, *columns: str) -> None:
    """Create an index, partial where the engine supports that."""
    options: dict[str, Any] = {}
    if where:
        condition = sa.text(where)
        options = {'postgresql_where': condition, 'sqlite_where': condition}
    name = f'{table}_{name}'
    if not context.is_offline_mode():
        indexes = sa.inspect(op.get_bind()).get_indexes(table)
        if name in {index['name'] for index in indexes}:
            return
    op.create_index(name, table, [*columns], **options)
