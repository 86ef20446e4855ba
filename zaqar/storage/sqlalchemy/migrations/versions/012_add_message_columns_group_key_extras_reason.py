# SPDX-License-Identifier: Apache-2.0
"""Add the group of a message, what is kept beside its body, and a reason

Messages that are there already have none of them.
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = '012'
down_revision = '011'
branch_labels = None
depends_on = None

_MYSQL = ('mysql', 'mariadb')


def upgrade() -> None:
    """Add the columns, except those that an earlier try has added.

    At the end and without a default: no engine rewrites the table.
    """
    existing: set[str] = set()
    if not context.is_offline_mode():
        columns = sa.inspect(op.get_bind()).get_columns('message')
        existing = {column['name'] for column in columns}
    for column in _columns():
        if column.name not in existing:
            op.add_column('message', column)


def _columns() -> list[sa.Column[str] | sa.Column[bytes]]:
    blob = sa.LargeBinary()
    return [
        sa.Column(
            'group_key',
            sa.String(128).with_variant(
                mysql.VARCHAR(128, charset='ascii', collation='ascii_bin'),
                *_MYSQL,
            ),
        ),
        sa.Column('extras', blob.with_variant(mysql.MEDIUMBLOB(), *_MYSQL)),
        sa.Column('reason', blob.with_variant(mysql.BLOB(), *_MYSQL)),
    ]
