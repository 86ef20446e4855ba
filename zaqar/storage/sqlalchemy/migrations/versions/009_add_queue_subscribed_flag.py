# SPDX-License-Identifier: Apache-2.0
"""Note of each queue whether it may have subscribers

Queues that are there already may have some: the first notice will tell.
"""

import sqlalchemy as sa
from alembic import context, op

revision = '009'
down_revision = '008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, unless an earlier try has done so."""
    if not context.is_offline_mode():
        columns = sa.inspect(op.get_bind()).get_columns('message_queue')
        if 'subscribed' in {column['name'] for column in columns}:
            return
    op.add_column(
        'message_queue',
        sa.Column(
            'subscribed',
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text('1'),
        ),
    )
