# SPDX-License-Identifier: Apache-2.0
"""The message store on Swift: another store's rows, with bodies elsewhere.

An object is written before the row that refers to it and deleted after it, so
that a row never waits for its object. What is left over by a crash, a purge or
an expiry expires by itself, a day after its message would have.

An object that is missing all the same was deleted by somebody else. Its
message is shown by no call, so that the others can be had; it is said in the
log, counted by stats until it expires, and never deleted: the object may come
back with a server that was down.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from zaqar.errors import (
    InvalidDeletion,
    MessageClaimed,
    QueueFull,
    QueueGone,
    StaleMetadata,
    StoreUnavailable,
)
from zaqar.models import Claim, Message, NewMessage, Page, Stats
from zaqar.storage import base
from zaqar.storage.swift import bodies
from zaqar.storage.swift.account import Account
from zaqar.storage.swift.bodies import Reference

LOG = logging.getLogger(__name__)

#: Seconds for which a pop holds what it takes until it has the bodies.
POP = 10

#: Claims that one call makes in search of a message that can be shown.
ROUNDS = 10


class MessageStore(base.MessageStore):
    """Messages and claims in another store, large bodies in Swift.

    Internal queues are left to the other store altogether: they may be worked
    by others who share its database.

    :param inline: bytes of a body that stays in the row
    """

    def __init__(
        self,
        rows: base.MessageStore,
        account: Account,
        inline: int = bodies.INLINE,
    ) -> None:
        self._rows = rows
        self._account = account
        self._inline = inline
        self.clock = rows.clock

    def ping(self) -> None:
        self._rows.ping()
        self._account.ping()

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        now: int,
        token: str,
        limit: int = 0,
        notice: Callable[[], NewMessage] | None = None,
        version: int | None = None,
    ) -> Sequence[str]:
        objects: dict[str, tuple[bytes, int]] = {}
        if not _is_internal(qid):
            messages = [
                self._packed(qid, message, place, token, now, objects)
                for place, message in enumerate(messages)
            ]
        self._account.put(objects)
        try:
            return self._rows.post(
                qid,
                messages,
                now=now,
                token=token,
                limit=limit,
                notice=notice,
                version=version,
            )
        except (QueueFull, QueueGone, StaleMetadata):
            # Others leave open whether the rows were written.
            self._account.forget(list(objects))
            raise

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._rows.require_version(qid, version, now=now)

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._rows.mark_subscribed(qid, now=now)

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return self._rows.subscribed_epoch(qid, now=now)

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        return self._rows.unmark_subscribed(qid, epoch, now=now)

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
        page = self._rows.list(
            qid,
            now=now,
            limit=limit,
            marker=marker,
            exclude_client=exclude_client,
            include_claimed=include_claimed,
            include_delayed=include_delayed,
        )
        return replace(page, messages=self._whole(qid, page.messages))

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        return self._whole(qid, self._rows.get(qid, ids, now=now))

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        paths = self._paths(qid, [message_id], now)
        self._rows.delete(qid, message_id, now=now, claim_id=claim_id)
        self._account.forget(paths)

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        paths = self._paths(qid, ids, now)
        self._rows.delete_many(qid, ids, now=now, claim_ids=claim_ids)
        self._account.forget(paths)

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        if _is_internal(qid):
            return self._rows.pop(qid, now=now, limit=limit)
        # Held while the bodies are fetched: what is lost then comes back.
        claim = self.claim(
            qid,
            now=now,
            claim_id=secrets.token_hex(16),
            ttl=POP,
            grace=0,
            limit=limit,
        )
        if claim is None:
            return []
        ids = [message.id for message in claim.messages]
        try:
            self.delete_many(qid, ids, now=now, claim_ids=[claim.id])
        except (InvalidDeletion, MessageClaimed):
            # It took so long that somebody else has them.
            raise StoreUnavailable from None
        return [replace(message, claim_id=None) for message in claim.messages]

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
    ) -> Claim | None:
        if max_claims and self._account.has_failed:
            # What cannot be handed out is not to be counted as if it were.
            self.list(qid, now=now, limit=limit)
        for _ in range(ROUNDS):
            found = self._rows.claim(
                qid,
                now=now,
                claim_id=claim_id,
                ttl=ttl,
                grace=grace,
                limit=limit,
                max_claims=max_claims,
                version=version,
            )
            if found is None:
                return None
            whole = self._handed_out(qid, found, now)
            if whole.messages or whole.exhausted:
                return whole
            # None can be shown. They stay held, out of the way, and the next
            # are claimed under an id that a repeated call finds again.
            claim_id = hashlib.sha256(claim_id.encode()).hexdigest()[:32]
        return None

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        found = self._rows.claimed(qid, claim_id, now=now)
        if found is None:
            return None
        whole = replace(found, messages=self._whole(qid, found.messages))
        return whole if whole.messages else None

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        if not self._rows.renew(qid, claim_id, now=now, ttl=ttl, grace=grace):
            return False
        if not _is_internal(qid):
            found = self._rows.claimed(qid, claim_id, now=now)
            self._prolong(qid, found.messages if found else [], now)
        return True

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        self._rows.release(qid, claim_id, now=now)

    def stats(self, qid: str, *, now: int) -> Stats:
        return self._rows.stats(qid, now=now)

    def volume(self, *, now: int) -> Stats | None:
        return self._rows.volume(now=now)

    def purge(self, qid: str, *, now: int) -> None:
        # The objects expire: by its name none tells whether its row is one of
        # those purged or just being written.
        self._rows.purge(qid, now=now)

    def drop(self, qid: str, *, now: int) -> None:
        self._rows.drop(qid, now=now)
        self._account.forget_all(qid)

    def sweep(self, *, now: int, batch: int) -> int:
        return self._rows.sweep(now=now, batch=batch)

    def close(self) -> None:
        self._account.close()
        self._rows.close()

    def _packed(
        self,
        qid: str,
        message: NewMessage,
        place: int,
        token: str,
        now: int,
        objects: dict[str, tuple[bytes, int]],
    ) -> NewMessage:
        """Return a message as it goes into a row; note what goes to Swift."""
        if len(message.body) <= self._inline:
            return replace(message, body=bodies.inline(message.body))
        reference = bodies.reference(message, place, token, now)
        objects[f'{qid}/{reference.name}'] = (
            message.body,
            message.ttl + bodies.GRACE,
        )
        return replace(message, body=reference.pack())

    def _whole(self, qid: str, rows: Sequence[Message]) -> Sequence[Message]:
        """Return messages with their bodies, without those that are lost."""
        if _is_internal(qid):
            return rows
        found = [bodies.unpack(row.body) for row in rows]
        wanted = [item for item in found if isinstance(item, Reference)]
        contents = iter(
            self._account.get([f'{qid}/{item.name}' for item in wanted])
        )
        whole = []
        for row, item in zip(rows, found, strict=True):
            body = next(contents) if isinstance(item, Reference) else item
            if body is None:
                LOG.error(
                    'The body of message %s of queue %s is not in Swift.',
                    row.id,
                    qid,
                )
            else:
                whole.append(replace(row, body=body))
        return whole

    def _handed_out(self, qid: str, claim: Claim, now: int) -> Claim:
        """Return a claim with bodies, or give it up.

        :raises StoreUnavailable: its messages are free again, if possible
        """
        rows = [*claim.messages, *claim.exhausted]
        try:
            whole = self._whole(qid, rows)
            self._prolong(qid, rows, now)
        except StoreUnavailable:
            with suppress(StoreUnavailable, QueueGone):
                self._rows.release(qid, claim.id, now=now)
            raise
        spent = {message.id for message in claim.exhausted}
        return replace(
            claim,
            messages=[item for item in whole if item.id not in spent],
            exhausted=[item for item in whole if item.id in spent],
        )

    def _prolong(self, qid: str, rows: Sequence[Message], now: int) -> None:
        """Let no object die before a message that a claim keeps alive."""
        if _is_internal(qid):
            return
        lives = {}
        for row in rows:
            item = bodies.unpack(row.body)
            if isinstance(item, Reference) and item.is_short(row.expires_at):
                left = -((now - row.expires_at) // 1000)
                lives[f'{qid}/{item.name}'] = left + bodies.GRACE
        self._account.prolong(lives)

    def _paths(self, qid: str, ids: Sequence[str], now: int) -> Sequence[str]:
        """Return the objects of messages that are about to be deleted."""
        if _is_internal(qid):
            return []
        found = [
            bodies.unpack(row.body)
            for row in self._rows.get(qid, ids, now=now)
        ]
        return [
            f'{qid}/{item.name}'
            for item in found
            if isinstance(item, Reference)
        ]


def _is_internal(qid: str) -> bool:
    return qid.startswith(base.OUTBOX)
