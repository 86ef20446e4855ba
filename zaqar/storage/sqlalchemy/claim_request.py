# SPDX-License-Identifier: Apache-2.0
"""A call that claims messages, as the statements need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zaqar.storage.abstract_stores import MAX_EXHAUSTED
from zaqar.storage.sqlalchemy.claimable_rows import FreeRows
from zaqar.storage.sqlalchemy.message_rows import seq_of
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    IS_EXHAUSTED,
    IS_FRESH,
    QUEUE,
)
from zaqar.storage.sqlalchemy.statement_execution import Row

#: The id of a live queue, if the metadata of a claim are not too old.
_CURRENT_QUEUE = f'{QUEUE[:-1]} AND least_version <= :version)'


def lifetime_values(now: int, ttl: int, grace: int) -> dict[str, Any]:
    """Return the parameters that determine lifetimes."""
    end = now + ttl * 1000
    return {
        'now': now,
        'ttl': ttl,
        'end': end,
        'raised': ttl + grace,
        'raised_end': end + grace * 1000,
    }


class ClaimRequest(msgspec.Struct, frozen=True):
    """A call of :meth:`zaqar.storage.abstract_stores.MessageStore.claim`.

    :ivar lifetime: see :func:`lifetime_values`
    :ivar passes_woken: see :class:`.claimable_rows.FreeRows`
    """

    qid: str
    claim_id: str
    lifetime: Mapping[str, Any]
    limit: int
    max_claims: int = 0
    version: int | None = None
    passes_woken: bool = False

    def at(self, now: int) -> ClaimRequest:
        """Return it as of another time."""
        ttl, raised = self.lifetime['ttl'], self.lifetime['raised']
        lifetime = lifetime_values(now, ttl, raised - ttl)
        return msgspec.structs.replace(self, lifetime=lifetime)

    @property
    def terms(self) -> tuple[int, int | None, bool]:
        """What determines the messages to which it is entitled."""
        return self.max_claims, self.version, self.passes_woken

    def free_rows(self, limit: int) -> FreeRows:
        """Return what may be handed out."""
        fresh = f'AND {IS_FRESH}' if self.max_claims else ''
        return self._rows(self.values, limit, fresh)

    def exhausted_rows(self, taken: Sequence[Row], limit: int) -> FreeRows:
        """Return the exhausted ones before the last one taken."""
        values, condition = self.values, f'AND {IS_EXHAUSTED}'
        if len(taken) == limit:
            values['last'] = seq_of(taken[-1])
            condition += ' AND m.seq < :last'
        return self._rows(values, MAX_EXHAUSTED, condition)

    def _rows(
        self, values: Mapping[str, Any], limit: int, condition: str
    ) -> FreeRows:
        queue = QUEUE if self.version is None else _CURRENT_QUEUE
        return FreeRows(values, limit, condition, queue, self.passes_woken)

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of its statements."""
        return {
            **self.lifetime,
            'qid': self.qid,
            'claim_id': self.claim_id,
            'max': self.max_claims,
            'version': self.version,
        }
