# SPDX-License-Identifier: Apache-2.0
"""The message store on Swift: rows in another store, large bodies in Swift.

An object is written before the row that refers to it and deleted after it, so
that a row never waits for its object. Objects left by a crash, a purge or an
expiry expire a day after their message would have.

An object that is missing all the same was deleted by another party. Its
message is omitted by all calls, so that the others remain available; it is
logged, counted by stats until it expires, and never deleted: the object may
come back with a server that was down.
"""

import dataclasses
import hashlib
import itertools
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from zaqar import request_deadline
from zaqar.errors import (
    InvalidDeletion,
    MessageClaimed,
    QueueFull,
    QueueGone,
    StaleMetadata,
    StoreUnavailable,
    TokenReused,
)
from zaqar.objects import (
    Act,
    Claim,
    Message,
    NewMessage,
    Page,
    Settlement,
    random_half,
)
from zaqar.storage import abstract_stores
from zaqar.storage.store_guarantees import Guarantees
from zaqar.storage.store_inspection_interface import Inspected
from zaqar.storage.swift import body_references
from zaqar.storage.swift.body_references import Reference
from zaqar.storage.swift.concurrent_object_requests import SwiftClient

LOG = logging.getLogger(__name__)

#: Seconds for which a pop claims messages until it has the bodies.
POP_TTL = 10

#: Claims of one call, at most, while the bodies of all messages are missing.
MAX_CLAIMS = 10


def _of_rows(name: str) -> Any:
    """Return a method that leaves its calls to the store of the rows."""

    def call(store: Any, *args: Any, **options: Any) -> Any:
        return getattr(store.rows, name)(*args, **options)

    return call


class LargeBodyStore(abstract_stores.MessageStore):
    """Messages and claims in another store, large bodies in Swift.

    Internal queues are left to the other store altogether: processes without
    Swift may share its database.

    :param inline: the largest body that is stored in the row, in bytes
    :ivar rows: the other store
    """

    def __init__(
        self,
        rows: abstract_stores.MessageStore,
        client: SwiftClient,
        inline: int = body_references.INLINE,
    ) -> None:
        self.rows = rows
        self._client = client
        self._inline = inline
        self.clock = rows.clock

    @property
    def has_groups(self) -> bool:
        return self.rows.has_groups

    def ping(self) -> None:
        self.rows.ping()
        self._client.ping()

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        now: int,
        token: str,
        **options: Any,
    ) -> Sequence[str]:
        objects: dict[str, tuple[bytes, int]] = {}
        if not _is_internal(qid):
            messages = [
                self._packed(qid, message, place, token, now, objects)
                for place, message in enumerate(messages)
            ]
        self._client.put(objects)
        try:
            ids = self.rows.post(
                qid, messages, now=now, token=token, **options
            )
        except (QueueFull, QueueGone, StaleMetadata, TokenReused):
            # After other errors the rows may exist.
            self._client.delete_later(list(objects))
            raise
        if objects:
            self._client.delete_later(_of_others(qid, messages, ids))
        return ids

    require_version = _of_rows('require_version')
    mark_subscribed = _of_rows('mark_subscribed')
    subscribed_epoch = _of_rows('subscribed_epoch')
    unmark_subscribed = _of_rows('unmark_subscribed')
    release = _of_rows('release')
    stats = _of_rows('stats')
    stats_of = _of_rows('stats_of')
    volume = _of_rows('volume')
    # Posts add the bytes in Swift, too. Those of large bodies from before the
    # count began are not in it.
    held_bytes = _of_rows('held_bytes')
    availability = _of_rows('availability')
    watch = _of_rows('watch')
    sweep = _of_rows('sweep')
    # The objects expire: their names do not tell whether the row is purged or
    # just being written.
    purge = _of_rows('purge')

    def list(self, qid: str, *, now: int, **options: Any) -> Page:
        page = self.rows.list(qid, now=now, **options)
        return replace(page, messages=self._load(qid, page.messages))

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        return self._load(qid, self.rows.get(qid, ids, now=now))

    def inspect(
        self, qid: str, message_id: str, *, now: int
    ) -> Inspected | None:
        inspected = self.rows.inspect(qid, message_id, now=now)
        if inspected is None:
            return None
        for message in self._load(qid, [inspected.message]):
            return dataclasses.replace(inspected, message=message)
        return dataclasses.replace(inspected, lacks_body=True)

    def guarantees(self, qid: str) -> Guarantees | None:
        rows = self.rows.guarantees(qid)
        if rows is None:
            return None
        text = (
            f'bodies above {self._inline} bytes are in Swift, which confirms '
            'them once most replicas have them; everything else is in '
            f'{rows.store}'
        )
        return dataclasses.replace(
            rows, store='swift', because=[*rows.because, text]
        )

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        paths = self._paths(qid, [message_id], now)
        self.rows.delete(qid, message_id, now=now, claim_id=claim_id)
        self._client.delete_later([*paths.values()])

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        paths = self._paths(qid, ids, now)
        self.rows.delete_many(qid, ids, now=now, claim_ids=claim_ids)
        self._client.delete_later([*paths.values()])

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        if _is_internal(qid):
            return self.rows.pop(qid, now=now, limit=limit)
        # Claimed while the bodies are fetched: after a failure they are free.
        claim = self.claim(
            qid,
            now=now,
            claim_id=secrets.token_hex(16),
            ttl=POP_TTL,
            grace=0,
            limit=limit,
        )
        if claim is None:
            return []
        ids = [message.id for message in claim.messages]
        try:
            self.delete_many(qid, ids, now=now, claim_ids=[claim.id])
        except (InvalidDeletion, MessageClaimed):
            # The claim has expired, and others have the messages.
            raise StoreUnavailable from None
        return [message.before_claim() for message in claim.messages]

    def claim(
        self, qid: str, *, now: int, claim_id: str, **options: Any
    ) -> Claim | None:
        if options.get('max_claims') and self._client.has_failed:
            # A claim that fails would still count.
            self.list(qid, now=now, limit=options['limit'])
        for _ in range(MAX_CLAIMS):
            claim = self.rows.claim(qid, now=now, claim_id=claim_id, **options)
            if claim is None:
                return None
            claim = self._with_bodies(qid, claim, now)
            if claim.messages or claim.exhausted:
                return claim
            # All bodies are missing. These messages stay claimed, and the next
            # ones are claimed under an id that a repeated call derives again.
            claim_id = hashlib.sha256(claim_id.encode()).hexdigest()[:32]
        return None

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        claim = self.rows.claimed(qid, claim_id, now=now)
        if claim is None:
            return None
        messages = self._load(qid, claim.messages)
        return replace(claim, messages=messages) if messages else None

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        if not self.rows.renew(qid, claim_id, now=now, ttl=ttl, grace=grace):
            return False
        if not _is_internal(qid):
            claim = self.rows.claimed(qid, claim_id, now=now)
            self._prolong(qid, claim.messages if claim else [], now)
        return True

    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool] | None:
        paths = self._paths(qid, _ids(settlements, Act.DELETE), now)
        results = self.rows.settle(qid, claim_id, settlements, now=now)
        if results is None:
            return None
        settled = [*itertools.compress(settlements, results)]
        deleted = _ids(settled, Act.DELETE)
        self._client.delete_later(
            [paths[name] for name in deleted if name in paths]
        )
        extended = _ids(settled, Act.EXTEND)
        if extended:
            self._prolong(qid, self.rows.get(qid, extended, now=now), now)
        return results

    def drop(self, qid: str, *, now: int) -> None:
        self.rows.drop(qid, now=now)
        self._client.delete_all_later(qid)

    def close(self) -> None:
        self._client.close()
        self.rows.close()

    def _packed(
        self,
        qid: str,
        message: NewMessage,
        place: int,
        token: str,
        now: int,
        objects: dict[str, tuple[bytes, int]],
    ) -> NewMessage:
        """Return a message as stored in its row; add its object, if any."""
        if len(message.body) <= self._inline:
            return replace(message, body=body_references.inline(message.body))
        reference = body_references.reference(message, place, token, now)
        objects[f'{qid}/{reference.name}'] = (
            message.body,
            message.ttl + body_references.GRACE,
        )
        size = len(message.body)
        return replace(message, body=reference.pack(), elsewhere=size)

    def _load(self, qid: str, rows: Sequence[Message]) -> Sequence[Message]:
        """Return messages with their bodies, without missing ones."""
        if _is_internal(qid):
            return rows
        items = [body_references.unpack(row.body) for row in rows]
        references = [item for item in items if isinstance(item, Reference)]
        contents = iter(
            self._client.get([f'{qid}/{item.name}' for item in references])
        )
        messages = []
        for row, item in zip(rows, items, strict=True):
            body = next(contents) if isinstance(item, Reference) else item
            if body is None:
                LOG.error(
                    'The body of message %s of queue %s is not in Swift.',
                    row.id,
                    qid,
                )
            else:
                messages.append(replace(row, body=body))
        return messages

    def _with_bodies(self, qid: str, claim: Claim, now: int) -> Claim:
        """Return a claim with bodies, or release it."""
        rows = [*claim.messages, *claim.exhausted]
        try:
            messages = self._load(qid, rows)
            self._prolong(qid, rows, now)
        except StoreUnavailable:
            # Swift may have used up the time of the request.
            with (
                suppress(StoreUnavailable, QueueGone),
                request_deadline.undoing(),
            ):
                # Nobody has got the messages, and so it does not count.
                self.rows.settle(qid, claim.id, claim.undoing(), now=now)
            raise
        exhausted = {message.id for message in claim.exhausted}
        return replace(
            claim,
            messages=[item for item in messages if item.id not in exhausted],
            exhausted=[item for item in messages if item.id in exhausted],
        )

    def _prolong(self, qid: str, rows: Sequence[Message], now: int) -> None:
        """Prolong objects that might expire before their message."""
        if _is_internal(qid):
            return
        lives = {}
        for row in rows:
            item = body_references.unpack(row.body)
            if isinstance(item, Reference) and item.is_short(row.expires_at):
                left = -((now - row.expires_at) // 1000)
                lives[f'{qid}/{item.name}'] = left + body_references.GRACE
        self._client.prolong(lives)

    def _paths(self, qid: str, ids: Sequence[str], now: int) -> dict[str, str]:
        """Return the objects of messages to be deleted, by their ids."""
        if _is_internal(qid) or not ids:
            return {}
        return {
            row.id: f'{qid}/{item.name}'
            for row in self.rows.get(qid, ids, now=now)
            if isinstance(item := body_references.unpack(row.body), Reference)
        }


def _ids(settlements: Sequence[Settlement], act: Act) -> Sequence[str]:
    """Return the ids of those messages to which that is done."""
    return [item.message_id for item in settlements if item.act is act]


def _of_others(
    qid: str, messages: Sequence[NewMessage], ids: Sequence[str]
) -> list[str]:
    """Return the objects of messages whose ids are those of others.

    They are duplicates, or their post repeats another one.
    """
    items = [
        body_references.unpack(message.body)
        for message, name in zip(messages, ids, strict=True)
        if not message.id and random_half(name) != message.rnd
    ]
    return [
        f'{qid}/{item.name}' for item in items if isinstance(item, Reference)
    ]


def _is_internal(qid: str) -> bool:
    return qid.startswith(abstract_stores.OUTBOX)
