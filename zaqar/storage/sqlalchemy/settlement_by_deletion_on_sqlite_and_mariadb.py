# SPDX-License-Identifier: Apache-2.0
"""Settlement of a claim by deletion, with as few statements as possible.

That is for SQLite, or in one round trip for MariaDB; on PostgreSQL
:mod:`.postgresql_single_statement_settlement` does it. Most of what is settled
is deleted, all of it. The rest is for
:mod:`.settlement_in_several_statements`.
"""

import functools
from collections.abc import Sequence

from zaqar.objects import Act, Settlement
from zaqar.storage.message_ids import parse_id
from zaqar.storage.sqlalchemy import queue_count_subtraction
from zaqar.storage.sqlalchemy.dialect_clauses import delete_from, index_hint
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import compact

_QUEUE = (
    'SELECT id, live IS NOT NULL FROM message_queue '
    'WHERE qid = ? AND dropped_at IS NULL AND grouped = 0'
)
_HELD = (
    'queue_id = {queue} AND claim_id = {claim_id} AND state = 1 '
    'AND wake_at > {now} AND expires_at > {now}'
)
_MATCHES = 'AND public_id IS NULL AND rnd = CASE seq {pairs} END'
#: On SQLite those of a claim are found by it: by their numbers takes longer.
_DELETE = f'DELETE FROM message{{hint}} WHERE {{held}} {_MATCHES}'
_END = '(SELECT max(wake_at) FROM message{hint} WHERE {held})'
_CLAIM = 'WHERE queue_id = {queue} AND id = {claim_id}'
#: Where it holds no more: to remove the claim changes less than to end it.
_REMOVE_CLAIM = f'DELETE FROM claim {_CLAIM}'
_SHORTEN_CLAIM = f'UPDATE claim SET expires_at = {{end}} {_CLAIM}'
_SUBTRACT = (
    f'UPDATE message_queue SET {queue_count_subtraction.subtract(":count")} '
    'WHERE qid = :qid'
)
#: The claim is removed at once if it held only these messages, and has not
#: been made anew since, which gives it a later end: to search what has just
#: been deleted for others takes longer. Otherwise it is locked before its end
#: is known: of two calls that delete some of its messages each, the second one
#: sees what the first has. Unlike a DELETE, an UPDATE reads other tables
#: without locks.
_BLOCK = """BEGIN
DECLARE q, l, c, e BIGINT;
SELECT id, live INTO q, l FROM message_queue
WHERE qid = :qid AND dropped_at IS NULL AND grouped = 0;
SELECT count(*), max(wake_at) INTO c, e FROM message{hint}
WHERE queue_id = q AND claim_id = :claim_id;
{delete} WHERE {held} AND seq IN ({{seqs}}) {matches};
IF ROW_COUNT() = :count THEN
{remove_claim} AND c = :count AND expires_at + 0 <= e;
IF ROW_COUNT() = 0 THEN {shorten_claim}; END IF;
IF l IS NOT NULL THEN {subtract} AND id + 0 = q AND live IS NOT NULL; END IF;
ELSE ROLLBACK; SELECT 0; END IF;
END"""


class OtherwiseError(Exception):
    """It must be done in the other way; roll back."""


def settle(
    session: SqlSession,
    qid: str,
    claim_id: str,
    settlements: Sequence[Settlement],
    now: int,
) -> Sequence[bool]:
    """Delete messages, all of which a claim holds, within a transaction.

    :raises OtherwiseError: these are not all deletions, the claim does not
        hold one of the messages, one has an id from another queue, or the
        queue has groups
    """
    pairs: list[int | str] = []
    for item in settlements:
        halves = parse_id(item.message_id)
        if item.act is not Act.DELETE or halves is None:
            raise OtherwiseError
        pairs += halves
    if not pairs:
        raise OtherwiseError
    delete = _delete_at_once if session.takes_compounds else _delete
    if not delete(session, qid, claim_id, now, pairs):
        raise OtherwiseError
    return [True] * len(settlements)


def _delete(
    session: SqlSession,
    qid: str,
    claim_id: str,
    now: int,
    pairs: Sequence[int | str],
) -> bool:
    row = session.in_order(_QUEUE, (qid,)).fetchone()
    if row is None:
        return False
    queue_id, is_counted = row
    count = len(pairs) // 2
    delete, remove_claim, shorten_claim = _in_order(count)
    held = (queue_id, claim_id, now, now)
    if session.in_order(delete, (*held, *pairs)).rowcount < count:
        return False
    claim = (queue_id, claim_id)
    if not session.in_order(remove_claim, (*claim, *held)).rowcount:
        session.in_order(shorten_claim, (*held, *claim))
    if is_counted:
        session.run(_SUBTRACT, {'qid': qid, 'count': count})
    return True


def _delete_at_once(
    session: SqlSession,
    qid: str,
    claim_id: str,
    now: int,
    pairs: Sequence[int | str],
) -> bool:
    seqs, rnds = pairs[::2], pairs[1::2]
    values = {
        'qid': qid,
        'claim_id': claim_id,
        'now': now,
        'count': len(seqs),
    }
    cases = zip(seqs, rnds, strict=True)
    block = session.text(_block(), values).format(
        seqs=', '.join(map(str, seqs)),
        pairs=' '.join(f"WHEN {seq} THEN '{rnd}'" for seq, rnd in cases),
    )
    session.later(block, {})
    return not session.finish()


@functools.lru_cache(maxsize=128)
def _in_order(count: int) -> tuple[str, str, str]:
    """Return SQL that deletes so many messages.

    :returns: also SQL that removes their claim if it holds no more, and what
        else lets it end with the last of them
    """
    hint = index_hint('sqlite', 'message_claim')
    held = _HELD.format(queue='?', claim_id='?', now='?')
    pairs = ' '.join(['WHEN ? THEN ?'] * count)
    end = _END.format(hint=hint, held=held)
    claim = {'queue': '?', 'claim_id': '?'}
    return (
        _DELETE.format(hint=hint, held=held, pairs=pairs),
        f'{_REMOVE_CLAIM.format(**claim)} AND {end} IS NULL',
        _SHORTEN_CLAIM.format(end=end, **claim),
    )


@functools.cache
def _block() -> str:
    """Return a block that does both, and counts (MariaDB).

    It answers with a row only if it has done nothing. The halves of the ids
    are put in later: as parameters they take longer than all the others.
    """
    hint = index_hint('mysql', 'message_claim')
    held = _HELD.format(queue='q', claim_id=':claim_id', now=':now')
    rest = _HELD.format(
        queue='claim.queue_id', claim_id='claim.id', now=':now'
    )
    claim = {'queue': 'q', 'claim_id': ':claim_id'}
    end = _END.format(hint=hint, held=rest)
    sql = _BLOCK.format(
        hint=hint,
        delete=delete_from('mysql'),
        held=held,
        matches=_MATCHES,
        remove_claim=_REMOVE_CLAIM.format(**claim),
        shorten_claim=_SHORTEN_CLAIM.format(
            end=f'coalesce({end}, 0)', **claim
        ),
        subtract=_SUBTRACT,
    )
    return compact(sql)
