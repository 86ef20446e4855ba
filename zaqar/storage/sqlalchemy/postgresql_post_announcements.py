# SPDX-License-Identifier: Apache-2.0
"""Announcements of posts to processes that wait for them (PostgreSQL).

The row of a queue says until when somebody waits: only a post that sees a
later time there notifies, in its own round trip. Those who wait prolong that.
Both go by the clock of the server.
"""

from collections.abc import Iterable, Sequence

from zaqar.objects import NewMessage
from zaqar.storage.sqlalchemy import queue_row
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Of a database. Listeners ignore queues for which they do not wait, which may
#: be those of another schema.
CHANNEL = 'zaqar_posts'

#: Milliseconds for which a queue is waited for, unless that is renewed; and
#: how many must be left for that not to be needed.
LEASE = 30_000
ENOUGH = 15_000

#: Of the number of messages of a post.
_MOST_DIGITS = 9

_NOW = '(extract(epoch FROM now()) * 1000)::bigint'

#: SQL that notifies if somebody waits, by the name of the queue's row.
ANNOUNCE = (
    f'CASE WHEN {{row}}.waited_until > {_NOW} '
    f"THEN pg_notify('{CHANNEL}', :announcement) END"
)

#: Rows that are locked are left out, so that the others are not held up: the
#: caller tries again. Queues without a row have had no message yet.
_LEASE = f"""
WITH w AS (
    SELECT qid FROM message_queue
    WHERE qid = ANY(:qids::text[]) AND waited_until < {_NOW} + {ENOUGH}
    FOR UPDATE SKIP LOCKED),
u AS (
    UPDATE message_queue q SET waited_until = {_NOW} + {LEASE}
    FROM w WHERE q.qid = w.qid RETURNING q.qid),
n AS (
    INSERT INTO message_queue (qid, id, next_seq, waited_until)
    SELECT qid, id, {_NOW} * 1000, {_NOW} + {LEASE}
    FROM unnest(:qids::text[], :ids::bigint[]) AS n (qid, id)
    ON CONFLICT DO NOTHING RETURNING qid)
SELECT qid FROM u UNION ALL SELECT qid FROM n UNION ALL
SELECT qid FROM message_queue
WHERE qid = ANY(:qids::text[]) AND waited_until >= {_NOW} + {ENOUGH}
"""


def announcement(qid: str, messages: Iterable[NewMessage]) -> str:
    """Return what is said of a post: the queue, and how many are free."""
    return f'{qid} {sum(not message.delay for message in messages)}'


def parse(announcement: str) -> tuple[str, int]:
    """Return the queue and the number of free messages, 0 if unknown.

    Everybody in the database may announce something.
    """
    qid, _, count = announcement.partition(' ')
    is_number = count.isdecimal() and len(count) <= _MOST_DIGITS
    return qid, int(count) if is_number else 0


def lease(session: SqlSession, qids: Sequence[str]) -> Sequence[str]:
    """Have posts to these queues announced for a while.

    :returns: those queues for which that is so from now on
    """
    ids = [queue_row.new_id() for _ in qids]
    rows = session.all(_LEASE, {'qids': [*qids], 'ids': ids})
    return [qid for (qid,) in rows]
