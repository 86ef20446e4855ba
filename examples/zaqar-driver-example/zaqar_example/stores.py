# SPDX-License-Identifier: Apache-2.0
"""The two stores: each call becomes a request to the server.

What is not here is done by the classes of the contract: ``inspect`` shows what
``get`` returns, and ``watch`` tells that the server reports no changes.
"""

# Types of answers are checked at run time, not by mypy.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zaqar import store_clock
from zaqar.objects import (
    Claim,
    Message,
    NewMessage,
    Page,
    Record,
    Settlement,
    Stats,
)
from zaqar.storage import abstract_stores
from zaqar.storage.ids_of_repeated_posts import repeated
from zaqar.storage.store_guarantees import Guarantees, Order
from zaqar.storage.store_watch_interface import Availability
from zaqar_example.client import Client


class MessageStore(abstract_stores.MessageStore):
    """Messages and claims in the server's memory."""

    # Zaqar refuses messages with a group, which claims here would ignore.
    has_groups = False

    def __init__(self, client: Client) -> None:
        self._client = client
        #: Queues without subscribers, as far as is known.
        self._unsubscribed: set[str] = set()
        self.clock = store_clock.Clock(client.now)

    def _ask(self, result: Any, call: str, /, **values: Any) -> Any:
        return self._client.ask(result, 'messages', call, values)

    def ping(self) -> None:
        self._client.now()

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        now: int,
        token: str,
        limit: int = 0,
        notice: Callable[[Sequence[int]], NewMessage] | None = None,
        version: int | None = None,
        dedup_window: int = 0,
        fingerprint: str = '',
        token_lifetime: int = abstract_stores.TOKEN_LIFETIME,
    ) -> Sequence[str]:
        # Making a notice costs time, and few queues have subscribers.
        places: Sequence[int] = range(len(messages))
        if qid in self._unsubscribed or dedup_window:
            places = ()
        ids: list[str] | None = None
        while ids is None:
            ids, epoch, wanted, is_repeated = self._ask(
                tuple[list[str] | None, int, list[int], bool],
                'post',
                qid=qid,
                messages=messages,
                now=now,
                token=token,
                limit=limit,
                notice=notice(places) if notice and places else None,
                noticed=None if notice is None else [*places],
                version=version,
                dedup_window=dedup_window,
                fingerprint=fingerprint,
                token_lifetime=token_lifetime,
            )
            places = wanted
            if epoch > 0:
                self._unsubscribed.discard(qid)
            else:
                self._unsubscribed.add(qid)
        return repeated(messages, ids) if is_repeated else ids

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._ask(Any, 'require_version', qid=qid, version=version, now=now)

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._ask(Any, 'mark_subscribed', qid=qid, now=now)

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return self._ask(int, 'subscribed_epoch', qid=qid, now=now)

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        return self._ask(
            bool, 'unmark_subscribed', qid=qid, epoch=epoch, now=now
        )

    def list(
        self,
        qid: str,
        *,
        now: int,
        limit: int,
        marker: str | None = None,
        exclude_client: str | None = None,
        include_claimed: bool = False,
        include_delayed: bool = False,
    ) -> Page:
        return self._ask(
            Page,
            'list',
            qid=qid,
            now=now,
            limit=limit,
            marker=marker,
            exclude_client=exclude_client,
            include_claimed=include_claimed,
            include_delayed=include_delayed,
        )

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        return self._ask(Sequence[Message], 'get', qid=qid, ids=ids, now=now)

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        self._ask(
            Any,
            'delete',
            qid=qid,
            message_id=message_id,
            now=now,
            claim_id=claim_id,
        )

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        self._ask(
            Any, 'delete_many', qid=qid, ids=ids, now=now, claim_ids=claim_ids
        )

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        return self._ask(
            Sequence[Message], 'pop', qid=qid, now=now, limit=limit
        )

    def claim(
        self,
        qid: str,
        *,
        now: int,
        claim_id: str,
        ttl: int,
        grace: int,
        limit: int,
        max_claims: int = 0,
        version: int | None = None,
        only: Sequence[str] | None = None,
    ) -> Claim | None:
        return self._ask(
            Claim | None,
            'claim',
            qid=qid,
            now=now,
            claim_id=claim_id,
            ttl=ttl,
            grace=grace,
            limit=limit,
            max_claims=max_claims,
            version=version,
            only=only,
        )

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        return self._ask(
            Claim | None, 'claimed', qid=qid, claim_id=claim_id, now=now
        )

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        return self._ask(
            bool,
            'renew',
            qid=qid,
            claim_id=claim_id,
            now=now,
            ttl=ttl,
            grace=grace,
        )

    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool] | None:
        return self._ask(
            list[bool] | None,
            'settle',
            qid=qid,
            claim_id=claim_id,
            settlements=list(settlements),
            now=now,
        )

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        self._ask(Any, 'release', qid=qid, claim_id=claim_id, now=now)

    def stats(self, qid: str, *, now: int) -> Stats:
        return self._ask(Stats, 'stats', qid=qid, now=now)

    def availability(
        self, qids: Sequence[str], *, now: int
    ) -> Sequence[Availability]:
        return self._ask(
            Sequence[Availability], 'availability', qids=qids, now=now
        )

    def volume(self, *, now: int) -> Stats:
        return self._ask(Stats, 'volume', now=now)

    def guarantees(self, qid: str) -> Guarantees:
        return Guarantees(
            'example',
            Order.FIFO,
            store_kill=False,
            failover=False,
            because=['All data is in the memory of one server.'],
        )

    def purge(self, qid: str, *, now: int) -> None:
        self._ask(Any, 'purge', qid=qid, now=now)

    def drop(self, qid: str, *, now: int) -> None:
        self._ask(Any, 'drop', qid=qid, now=now)

    def sweep(self, *, now: int, batch: int) -> int:
        who = secrets.token_hex(8)
        if not self._ask(bool, 'begin_sweep', who=who):
            return 0
        try:
            return self._ask(int, 'sweep', now=now, batch=batch)
        finally:
            self._ask(Any, 'end_sweep', who=who)

    def close(self) -> None:
        self._client.close()


class ManagementStore(abstract_stores.ManagementStore):
    """Records in the server's memory. Their data is sent as JSON text."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.clock = store_clock.Clock(client.now)

    def _ask(self, result: Any, call: str, /, **values: Any) -> Any:
        return self._client.ask(result, 'records', call, values)

    def ping(self) -> None:
        self._client.now()

    def create(
        self, kind: str, parent: str, name: str, data: Mapping[str, Any]
    ) -> bool:
        return self._ask(
            bool,
            'create',
            kind=kind,
            parent=parent,
            name=name,
            data=json.dumps(data),
        )

    def get(self, kind: str, parent: str, name: str) -> Record | None:
        return _record(
            self._ask(Any, 'get', kind=kind, parent=parent, name=name)
        )

    def replace(
        self,
        kind: str,
        parent: str,
        name: str,
        data: Mapping[str, Any],
        *,
        version: int,
    ) -> bool:
        return self._ask(
            bool,
            'replace',
            kind=kind,
            parent=parent,
            name=name,
            data=json.dumps(data),
            version=version,
        )

    def delete(
        self, kind: str, parent: str, name: str, *, version: int | None = None
    ) -> Record | None:
        return _record(
            self._ask(
                Any,
                'delete',
                kind=kind,
                parent=parent,
                name=name,
                version=version,
            )
        )

    def list(
        self, kind: str, parent: str, *, after: str | None, limit: int
    ) -> Sequence[Record]:
        rows = self._ask(
            Any, 'list', kind=kind, parent=parent, after=after, limit=limit
        )
        return [record for row in rows if (record := _record(row))]

    def count(self, kind: str, parent: str) -> int:
        return self._ask(int, 'count', kind=kind, parent=parent)

    def close(self) -> None:
        self._client.close()


def _record(row: Sequence[Any] | None) -> Record | None:
    if row is None:
        return None
    name, data, version = row
    return Record(name, json.loads(data), version)
