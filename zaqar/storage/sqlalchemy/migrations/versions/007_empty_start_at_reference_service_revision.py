# SPDX-License-Identifier: Apache-2.0
"""Where a database of the reference service starts

Creates nothing: what the reference service keeps at its revision 007 is
adopted by 008, and an empty database passes through.
"""

revision = '007'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do nothing."""
