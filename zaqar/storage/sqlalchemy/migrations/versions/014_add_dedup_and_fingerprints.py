# SPDX-License-Identifier: Apache-2.0
"""Add what duplicates are recognized by, and fingerprints of posts

Nothing that is there already has any.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = '014'
down_revision = '013'
branch_labels = None
depends_on = None

_MYSQL = ('mysql', 'mariadb')


def _ascii(length: int) -> sa.types.TypeEngine[Any]:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset='ascii', collation='ascii_bin'), *_MYSQL
    )


def upgrade() -> None:
    """Add a table and a column, unless an earlier try has added them."""
    op.create_table(
        'dedup',
        sa.Column('qid', _ascii(32), nullable=False),
        sa.Column('dedup_id', _ascii(128), nullable=False),
        sa.Column('message_id', _ascii(32), nullable=False),
        sa.Column('keep_until', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('qid', 'dedup_id'),
        mysql_engine='InnoDB',
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    columns: set[str] = set()
    indexes: set[str | None] = set()
    if not context.is_offline_mode():
        inspector = sa.inspect(op.get_bind())
        columns = {
            column['name'] for column in inspector.get_columns('post_token')
        }
        indexes = {index['name'] for index in inspector.get_indexes('dedup')}
    if 'dedup_keep' not in indexes:
        op.create_index('dedup_keep', 'dedup', ['keep_until'])
    if 'fingerprint' not in columns:
        op.add_column('post_token', sa.Column('fingerprint', _ascii(64)))
