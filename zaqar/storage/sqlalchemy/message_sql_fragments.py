# SPDX-License-Identifier: Apache-2.0
"""Parts of SQL statements about messages: subqueries, conditions, changes."""

from zaqar.storage.sqlalchemy.message_rows import (
    DELAYED,
    EXHAUSTED,
    FREE,
    IN_GROUP,
)

#: Subquery for the id of a live queue.
QUEUE = (
    '(SELECT id FROM message_queue WHERE qid = :qid AND dropped_at IS NULL)'
)

#: The same, unless it has groups.
UNGROUPED = f'{QUEUE[:-1]} AND grouped = 0)'

#: Conditions for messages ``m`` of it: the live, the free, and those whose
#: claims or delays have ended.
LIVE = f'm.queue_id = {QUEUE} AND m.expires_at > :now'
IS_FREE = 'm.state = 0'
WOKEN = 'm.state > 0 AND m.wake_at > 0 AND m.wake_at <= :now'

#: Set the columns of a message that no claim holds any more: it is free, or
#: delayed until ``:end``. In a group the latter still names its claim, and is
#: due when it has expired, so that the group goes on.
FREED = (
    f'state = CASE WHEN group_key IS NULL THEN {FREE} ELSE {IN_GROUP} END, '
    'wake_at = 0, claim_id = NULL'
)
DELAY = (
    f'state = {DELAYED}, wake_at = CASE WHEN group_key IS NOT NULL '
    'AND expires_at < :end THEN expires_at ELSE :end END, '
    'claim_id = CASE WHEN group_key IS NOT NULL THEN claim_id END'
)

#: Prolongs lifetimes; ``ttl`` comes first, since MySQL uses the new values of
#: columns that were set before.
PROLONG = (
    'ttl = CASE WHEN expires_at < :end THEN :raised ELSE ttl END, '
    'expires_at = CASE WHEN expires_at < :end THEN :raised_end '
    'ELSE expires_at END'
)
#: Counts without the bit :data:`EXHAUSTED`, and with it.
COUNT = f'(claim_count & {EXHAUSTED - 1})'
COUNT_EXHAUSTED = f'(claim_count | {EXHAUSTED})'
IS_FRESH = f'{COUNT} < :max'
IS_EXHAUSTED = f'{COUNT} >= :max'
#: The condition that rows are as they were locked, or read behind one of their
#: group that is: a Galera node ends locks of its own when another one gets
#: ahead. An expression, so that the rows are found by their key.
STILL_FREE = 'wake_at + 0 <= :selected_at'


def order(condition: str) -> str:
    """Return the expression that sorts the rows of a condition.

    Few rows have woken at a time. An expression keeps PostgreSQL, which plans
    without the values, from scanning the queue in search of them.
    """
    return 'm.seq + 0' if 'm.state > 0' in condition else 'm.seq'
