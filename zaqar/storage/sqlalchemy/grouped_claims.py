# SPDX-License-Identifier: Apache-2.0
"""Claims and pops from a queue with groups.

They take the oldest of the free messages without a group and of the first
messages of free groups: consecutive ones, up to the first that is delayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.models import Claim, Message
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy import (
    claimable_rows,
    claiming,
    groups,
    popping,
    queue_state,
)
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows
from zaqar.storage.sqlalchemy.claiming import ClaimRequest, Share
from zaqar.storage.sqlalchemy.groups import (
    CHUNK,
    FREE_GROUP,
    GROUP_ORDER,
    WOKEN_GROUP,
    Group,
)
from zaqar.storage.sqlalchemy.message_rows import (
    COLUMNS,
    IN_GROUP,
    QUEUE,
    group_of,
    hold_of,
    index_hint,
    is_one_of,
    message,
    queue_id_of,
    seq_of,
)
from zaqar.storage.sqlalchemy.statement_execution import (
    Row,
    SqlSession,
    placeholder_values,
    placeholders,
)

#: The indexes that find free groups.
_INDEXES = {
    FREE_GROUP: 'message_group_free',
    WOKEN_GROUP: 'message_group_waking',
}
#: That the first message of a group is visible.
HAS_HEAD = (
    'abs((SELECT m.wake_at FROM message m{hint} WHERE m.queue_id = g.queue_id '
    'AND m.group_key = g.group_key AND m.seq >= g.head_seq '
    'AND m.expires_at > :now ORDER BY m.seq LIMIT 1)) <= :now'
)
_UNGROUPED = 'AND m.group_key IS NULL'

#: The first messages of all groups that are not held, from the first one of a
#: free group on.
_PAGE = (
    f'SELECT {COLUMNS} FROM message m{{hint}} WHERE m.queue_id = {QUEUE} '
    f'AND m.state = {IN_GROUP} AND m.seq >= (SELECT min(g.head_seq) '
    f'FROM message_group g{{group_hint}} WHERE g.queue_id = {QUEUE} '
    f'AND {FREE_GROUP}) AND m.expires_at > :now {{below}} '
    'ORDER BY m.seq LIMIT {limit}'
)
#: Whether the claim of a message of a group has ended: its group may be free
#: already, and it is in no page.
_HAS_WOKEN = (
    f'SELECT 1 FROM message m{{hint}} WHERE m.queue_id = {QUEUE} '
    f'AND {claimable_rows.WOKEN} AND m.group_key IS NOT NULL LIMIT 1'
)
_IS_CLAIM = f'SELECT 1 FROM claim WHERE queue_id = {QUEUE} AND id = :claim_id'

#: Numbers of the first messages of a group, at its place among some.
_RUN = (
    'SELECT * FROM (SELECT {at} AS place, m.seq, m.wake_at '
    'FROM message m{hint} WHERE m.queue_id = :id AND m.group_key = :key{at} '
    'AND m.seq >= :head{at} AND m.expires_at > :now {below} '
    'ORDER BY m.seq LIMIT {limit}) r{at}'
)


def claim(session: SqlSession, request: ClaimRequest) -> Claim | None:
    """Claim messages within a transaction.

    :raises RepeatedClaimError: there is such a claim; roll back
    """
    free = _Free(session, request.values, request.limit, request.current)
    fresh = claiming.IS_FRESH if request.max_claims else ''
    taken = free.rows(fresh, request.limit)
    exhausted: list[Row] = []
    if request.max_claims:
        condition = claiming.IS_EXHAUSTED
        if len(taken) == request.limit:
            condition += f' AND m.seq < {seq_of(taken[-1])}'
        exhausted = free.rows(condition, MAX_EXHAUSTED, handed_out=True)
    if not taken and not exhausted:
        return claiming.repeated_claim(session, request)
    share = Share(request, taken, exhausted)
    insert = queue_state.insert_ignoring(
        session.dialect, claiming.INSERT_CLAIM
    )
    if session.takes_compounds:
        # That there is none was seen with the groups; now it may conflict.
        session.later(insert, share.values, rows=1)
    elif not session.run(insert, share.values):
        raise claiming.RepeatedClaimError
    claiming.hold(session, [share])
    rows = sorted([*taken, *exhausted], key=seq_of)
    groups.occupy(
        session,
        queue_id_of(rows[0]),
        _keys(rows),
        seq_of(rows[-1]),
        request.lifetime,
    )
    return share.claim()


def pop(
    session: SqlSession, qid: str, now: int, limit: int
) -> Sequence[Message]:
    """Take and delete messages within a transaction."""
    queue_state.lock_if_counted(session, qid)
    free = _Free(session, {'qid': qid, 'now': now}, limit)
    rows = free.rows('', limit)
    if not rows:
        queue_state.check_gone(session, qid)
        return []
    queue_id = queue_id_of(rows[0])
    popping.delete_free(session, queue_id, rows, now)
    keys = _keys(rows)
    touched = [group for group in free.groups if group.key in keys]
    groups.regroup(session, touched, now)
    queue_state.subtract_live(session, queue_id, len(rows))
    return [message(row, now) for row in rows]


def _keys(rows: Sequence[Row]) -> set[str]:
    return {key for row in rows if (key := group_of(row)) is not None}


class _Free:
    """Free messages of a queue; groups are locked, and then read.

    :param limit: how many are wanted
    :param current: a condition; see :attr:`.claiming.ClaimRequest.current`
    :ivar groups: free ones, by their first messages, once there are rows
    """

    def __init__(
        self,
        session: SqlSession,
        values: Mapping[str, Any],
        limit: int,
        current: str = '',
    ) -> None:
        self._session = session
        self._values = values
        self._limit = limit
        self._current = current
        self.groups: list[Group] = []
        self._is_locked = False

    def rows(
        self, condition: str, limit: int, *, handed_out: bool = False
    ) -> list[Row]:
        """Return the first rows, in order, locked with their groups.

        :param condition: that they meet, if any
        :param handed_out: whether none of them has never been handed out
        """
        below = condition and f'AND {condition}'
        wanted = FreeRows(
            self._values,
            limit,
            f'{_UNGROUPED} {below}{self._current}',
            QUEUE,
        )
        queries = [*claimable_rows.queries(self._session, wanted)]
        if not self._is_locked:
            # As with messages, what has woken is read without locks first.
            queries += [
                (self._group_sql(FREE_GROUP), self._values),
                (self._group_sql(WOKEN_GROUP, lock=False), self._values),
                *self._page_queries(below, limit),
            ]
        free, numbers, *of_groups = self._session.several(queries)
        rows = claimable_rows.with_woken(self._session, wanted, free, numbers)
        if not self._is_locked:
            self._is_locked = True
            locked, woken, *paged = of_groups
            if any(paged[2:]):
                raise claiming.RepeatedClaimError
            self._lock(locked, woken)
            if paged and not woken and not paged[1]:
                first = self._first_of_page(rows, paged[0], limit)
                if first is not None:
                    return first
        for start in range(0, len(self.groups), CHUNK):
            part = self.groups[start : start + CHUNK]
            rows += self._rows_of(part, below, limit, handed_out)
        return sorted(rows, key=seq_of)[:limit]

    def _page_queries(
        self, below: str, limit: int
    ) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """Return what saves a round trip where that is all it costs."""
        if not self._session.takes_compounds:
            return ()
        dialect = self._session.dialect
        page = _PAGE.format(
            hint=index_hint(dialect, 'message_free'),
            group_hint=index_hint(dialect, _INDEXES[FREE_GROUP]),
            below=below,
            limit=limit,
        )
        hint = index_hint(dialect, 'message_waking')
        queries = [
            (page, self._values),
            (_HAS_WOKEN.format(hint=hint), self._values),
        ]
        if 'claim_id' in self._values:
            queries.append((_IS_CLAIM, self._values))
        return queries

    def _first_of_page(
        self, ungrouped: Sequence[Row], page: Sequence[Row], limit: int
    ) -> list[Row] | None:
        """Return the first free rows, None if they may be elsewhere.

        They are if the page is full of messages of busy groups, or if what
        lies behind a delayed one would have to be left out.

        :param page: see :data:`_PAGE`
        """
        now = self._values['now']
        if any(-hold_of(row)[1] > now for row in page):
            return None
        keys = {group.key for group in self.groups}
        grouped = [row for row in page if group_of(row) in keys]
        rows = sorted([*ungrouped, *grouped], key=seq_of)[:limit]
        if len(page) < limit:
            return rows
        is_enough = len(rows) == limit and seq_of(rows[-1]) <= seq_of(page[-1])
        return rows if is_enough else None

    def _rows_of(
        self,
        some: Sequence[Group],
        below: str,
        limit: int,
        handed_out: bool,
    ) -> Sequence[Row]:
        """Return the first rows of groups; those of a group have no gap."""
        hint = index_hint(self._session.dialect, 'message_group_order')
        runs = [
            _RUN.format(
                at=at,
                hint=hint,
                limit=limit,
                below=below
                + (f' AND m.seq <= :reached{at}' if handed_out else ''),
            )
            for at in range(len(some))
        ]
        runs_sql = ' UNION ALL '.join(runs)
        values = {
            **self._values,
            'id': some[0].queue_id,
            **placeholder_values('key', [one.key for one in some]),
            **placeholder_values('head', [one.head_seq for one in some]),
            **placeholder_values('reached', [one.reached for one in some]),
        }
        is_mysql = self._session.dialect == 'mysql'
        join = 'STRAIGHT_JOIN' if is_mysql else 'CROSS JOIN'
        rows = self._session.all(
            f'SELECT {COLUMNS} FROM (SELECT * FROM ({runs_sql}) r '
            f'ORDER BY seq LIMIT {limit}) p {join} message m '
            'WHERE m.queue_id = :id AND m.seq = p.seq',
            values,
        )
        now = self._values['now']
        if all(abs(hold_of(row)[1]) <= now for row in rows):
            return rows
        return self._visible_rows(runs_sql, values, limit)

    def _visible_rows(
        self, runs_sql: str, values: Mapping[str, Any], limit: int
    ) -> Sequence[Row]:
        """Return the first rows before the first delayed one of each group."""
        seqs: list[int] = []
        ended: set[int] = set()
        for place, seq, wake_at in sorted(self._session.all(runs_sql, values)):
            # What lies behind one that is delayed waits for it.
            if abs(wake_at) > values['now']:
                ended.add(place)
            if place not in ended:
                seqs.append(seq)
        if not seqs:
            return []
        seqs = sorted(seqs)[:limit]
        is_one = is_one_of(self._session.dialect, 'm.seq', 's', len(seqs))
        hint = ''
        if self._session.dialect == 'mysql':
            hint = index_hint(self._session.dialect, 'PRIMARY')
        return self._session.all(
            f'SELECT {COLUMNS} FROM message m{hint} '
            f'WHERE m.queue_id = :id AND {is_one}',
            {**values, **placeholder_values('s', seqs)},
        )

    def _group_sql(
        self,
        where: str,
        more: str = '',
        *,
        lock: bool = True,
        by_key: bool = False,
    ) -> str:
        """Return SQL for the first groups with a visible message."""
        dialect = self._session.dialect
        head = HAS_HEAD.format(hint=index_hint(dialect, 'message_group_order'))
        hint = index_hint(dialect, _INDEXES[where])
        if by_key:
            is_mysql = dialect == 'mysql'
            hint = index_hint(dialect, 'PRIMARY') if is_mysql else ''
        sql = (
            'SELECT g.queue_id, g.group_key, g.head_seq, g.reached '
            f'FROM message_group g{hint} WHERE g.queue_id = {QUEUE} '
            f'AND {where} AND {head}{more}{self._current} '
            f'ORDER BY {GROUP_ORDER[where]} LIMIT {self._limit}'
        )
        if lock:
            return queue_state.for_update(self._session, sql, skip=True)
        return sql

    def _lock(self, free: Sequence[Row], woken: Sequence[Row]) -> None:
        """Note groups that are locked, and lock those that have woken."""
        self.groups = [Group(*row) for row in free]
        if woken:
            self._add_woken([Group(*row) for row in woken])

    def _add_woken(self, woken: Sequence[Group]) -> None:
        """Lock groups whose claims or delays have ended, and add them."""
        # By their keys: in search of one that a rival has taken, all that
        # have woken would be read and locked.
        keys = [group.key for group in woken]
        condition = f'g.group_key IN ({placeholders("k", len(keys))})'
        rows = self._session.all(
            self._group_sql(WOKEN_GROUP, f' AND {condition}', by_key=True),
            {**self._values, **placeholder_values('k', keys)},
        )
        if len(rows) < len(woken):
            # Rivals were faster: there may be others.
            rows = self._session.all(
                self._group_sql(WOKEN_GROUP), self._values
            )
        every = [*self.groups, *(Group(*row) for row in rows)]
        every.sort(key=lambda group: group.head_seq)
        self.groups = every[: self._limit]
