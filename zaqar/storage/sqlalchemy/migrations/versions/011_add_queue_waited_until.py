# SPDX-License-Identifier: Apache-2.0
"""Note of each queue until when somebody waits for its messages

Nobody waits for those that are there already.
"""

import sqlalchemy as sa
from alembic import context, op

revision = '011'
down_revision = '010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, unless an earlier try has done so."""
    if not context.is_offline_mode():
        columns = sa.inspect(op.get_bind()).get_columns('message_queue')
        if 'waited_until' in {column['name'] for column in columns}:
            return
    op.add_column(
        'message_queue',
        sa.Column(
            'waited_until',
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text('0'),
        ),
    )
