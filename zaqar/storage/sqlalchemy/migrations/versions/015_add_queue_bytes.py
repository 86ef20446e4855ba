# SPDX-License-Identifier: Apache-2.0
"""Count the bytes that a queue holds

They are not known of queues that exist until somebody wants to know them.
"""

import sqlalchemy as sa
from alembic import context, op

revision = '015'
down_revision = '014'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, unless an earlier try has done so."""
    if not context.is_offline_mode():
        columns = sa.inspect(op.get_bind()).get_columns('message_queue')
        if 'bytes' in {column['name'] for column in columns}:
            return
    op.add_column('message_queue', sa.Column('bytes', sa.BigInteger()))
