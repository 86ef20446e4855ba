# SPDX-License-Identifier: Apache-2.0
"""Show the first message of each group among the free ones

The table of groups is not needed any more. Processes of before, which do not
know that, read it before they change messages of groups: they cannot, without
one of its columns, and break no order. The table itself they also read for
statistics, of any queue; it is left to a later revision.

On MySQL this is done in small steps, unless it is printed as SQL.
"""

import sqlalchemy as sa
from alembic import context, op

from zaqar.storage.sqlalchemy.migrations import revision_016_on_mysql

revision = '016'
down_revision = '015'
branch_labels = None
depends_on = None

_NOW = {
    'sqlite': "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    'postgresql': (
        'CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)'
    ),
    'mysql': 'CAST(floor(unix_timestamp(sysdate(3)) * 1000) AS SIGNED)',
}

#: Claims and delays of groups that have ended.
_HIDE_WOKEN = (
    'UPDATE message SET state = 3, wake_at = 0, claim_id = NULL '
    'WHERE group_key IS NOT NULL AND state IN (1, 2) AND wake_at <= {now}'
)
#: What waits after a release names the claim that holds others of its group,
#: else one that there is not.
_NAME_CLAIM = (
    "UPDATE message SET claim_id = 'delayed' WHERE group_key IS NOT NULL "
    'AND state = 2'
)
_HOLDERS = (
    '(SELECT queue_id, group_key, max(claim_id) AS holder FROM message '
    'WHERE group_key IS NOT NULL AND state = 1 GROUP BY queue_id, group_key) h'
)
_OF_HOLDER = (
    'message.queue_id = h.queue_id AND message.group_key = h.group_key '
    'AND message.state = 2'
)
#: Of groups of which nothing is held.
_FIRST = (
    '(SELECT queue_id, group_key, '
    'min(CASE WHEN expires_at > {now} THEN seq END) AS seq FROM message '
    'WHERE group_key IS NOT NULL '
    'AND queue_id IN (SELECT id FROM message_queue WHERE grouped = 1) '
    'GROUP BY queue_id, group_key HAVING min(state) = 3) h'
)
_OF_FIRST = 'message.queue_id = h.queue_id AND message.seq = h.seq'
_SHOW = (
    'state = CASE WHEN wake_at < -{now} THEN 2 ELSE 0 END, '
    'wake_at = CASE WHEN wake_at < -{now} THEN -wake_at ELSE 0 END'
)


def upgrade() -> None:
    """Drop the column, unless an earlier try has, and show what is first."""
    if context.is_offline_mode() or 'reached' in _columns():
        op.drop_column('message_group', 'reached')
    dialect = op.get_context().dialect.name.replace('mariadb', 'mysql')
    if dialect == 'mysql' and not context.is_offline_mode():
        revision_016_on_mysql.show(op.get_bind())
        return
    now = _NOW[dialect]
    op.execute(_HIDE_WOKEN.format(now=now))
    op.execute(_NAME_CLAIM)
    op.execute(_update(dialect, _HOLDERS, 'claim_id = h.holder', _OF_HOLDER))
    first, show = _FIRST.format(now=now), _SHOW.format(now=now)
    op.execute(_update(dialect, first, show, _OF_FIRST))
    op.execute('DELETE FROM message_group')


def _update(dialect: str, source: str, changes: str, where: str) -> str:
    if dialect == 'mysql':
        return f'UPDATE message, {source} SET {changes} WHERE {where}'
    return f'UPDATE message SET {changes} FROM {source} WHERE {where}'


def _columns() -> set[str]:
    columns = sa.inspect(op.get_bind()).get_columns('message_group')
    return {column['name'] for column in columns}
