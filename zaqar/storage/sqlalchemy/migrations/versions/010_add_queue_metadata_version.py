# SPDX-License-Identifier: Apache-2.0
"""Note of each queue the least version of metadata to be used with it

Queues that are there already take any, until their metadata is changed.
"""

import sqlalchemy as sa
from alembic import context, op

revision = '010'
down_revision = '009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, unless an earlier try has done so."""
    if not context.is_offline_mode():
        columns = sa.inspect(op.get_bind()).get_columns('message_queue')
        if 'least_version' in {column['name'] for column in columns}:
            return
    op.add_column(
        'message_queue',
        sa.Column(
            'least_version',
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text('0'),
        ),
    )
