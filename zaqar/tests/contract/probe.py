# SPDX-License-Identifier: Apache-2.0
"""One queue of a store, worked at moments that tests choose."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import structs

from zaqar import store_clock
from zaqar.objects import (
    Act,
    Claim,
    Message,
    NewMessage,
    Page,
    Settlement,
    Stats,
)
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_watch_interface import Availability

#: A client, and another.
ALICE = '3381af92-2b9e-11e3-b191-71861300734c'
BOB = 'd2f1b7c4-9a1e-4a55-8a6e-0f5a6a1f3b10'

WEEK = 7 * 86_400

#: Rows of one sweep.
PIECE = 1000

#: Under a name that :meth:`Probe.list` does not hide.
Messages = list[Message]


class Hand:
    """A clock that is moved by hand.

    It starts at the true time: servers may tidy up by their own clocks, and
    must not find everything dead.
    """

    def __init__(self) -> None:
        self.now = store_clock.wall_ms()

    def read(self) -> int:
        """Return now, in milliseconds."""
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * 1000)

    def before(self, seconds: float) -> None:
        """Go to one millisecond before ``seconds`` are over."""
        self.move(seconds - 0.001)

    def at_last(self) -> None:
        """Go on by the missing millisecond."""
        self.now += 1


class Probe:
    """A queue with short calls; each is made at the hand's now.

    Bodies are JSON texts of what is given.
    """

    def __init__(
        self, store: MessageStore, hand: Hand, qid: str | None = None
    ) -> None:
        self.store = store
        self.hand = hand
        self.qid = qid or token()

    def post(
        self,
        *bodies: Any,
        token: str | None = None,
        limit: int = 0,
        version: int | None = None,
        window: int = 0,
        **fields: Any,
    ) -> Sequence[str]:
        """Post messages with these bodies."""
        return self.send(
            [message(body, **fields) for body in bodies],
            token=token,
            limit=limit,
            version=version,
            dedup_window=window,
        )

    def send(
        self,
        messages: Sequence[NewMessage],
        *,
        token: str | None = None,
        limit: int = 0,
        version: int | None = None,
        **options: Any,
    ) -> Sequence[str]:
        """Post messages that were made elsewhere."""
        return self.store.post(
            self.qid,
            messages,
            now=self.hand.now,
            token=token or secrets.token_hex(16),
            limit=limit,
            version=version,
            **options,
        )

    def require(self, version: int) -> None:
        """Let nobody use older metadata with the queue."""
        self.store.require_version(self.qid, version, now=self.hand.now)

    def letter(self, body: Any, id: str, **fields: Any) -> Sequence[str]:
        """Post a message under an id of its own."""
        letter = message(body, id=id, rnd=id[16:], **fields)
        return self.send([letter], token=id)

    def list(self, limit: int = 1000, **options: Any) -> Page:
        """List a page."""
        return self.store.list(
            self.qid, now=self.hand.now, limit=limit, **options
        )

    def walk(self, limit: int = 1000, **options: Any) -> Iterator[Message]:
        """Yield what page after page shows, to the end."""
        marker = options.pop('marker', None)
        while True:
            page = self.list(limit, marker=marker, **options)
            yield from page.messages
            marker = page.resume
            if marker is None:
                return

    def get(self, *ids: str) -> Messages:
        """Look up messages."""
        return list(self.store.get(self.qid, ids, now=self.hand.now))

    def delete(self, message_id: str, claim_id: str | None = None) -> None:
        """Delete one message."""
        self.store.delete(
            self.qid, message_id, now=self.hand.now, claim_id=claim_id
        )

    def delete_many(
        self, *ids: str, claim_ids: Sequence[str] | None = None
    ) -> None:
        """Delete messages."""
        self.store.delete_many(
            self.qid, ids, now=self.hand.now, claim_ids=claim_ids
        )

    def pop(self, limit: int = 100) -> Messages:
        """Take messages for good."""
        return list(self.store.pop(self.qid, now=self.hand.now, limit=limit))

    def claim(
        self,
        limit: int = 100,
        *,
        ttl: int = 300,
        grace: int = 60,
        claim_id: str | None = None,
        max_claims: int = 0,
        only: Sequence[str] | None = None,
    ) -> Claim | None:
        """Claim messages, if there are any."""
        claim = self.store.claim(
            self.qid,
            now=self.hand.now,
            claim_id=claim_id or token(),
            ttl=ttl,
            grace=grace,
            limit=limit,
            max_claims=max_claims,
            only=only,
        )
        return _comparable(claim)

    def take(self, limit: int = 100, **options: Any) -> Claim:
        """Claim messages that must be there."""
        claim = self.claim(limit, **options)
        assert claim is not None, 'nothing was free'
        return claim

    def claimed(self, claim_id: str) -> Claim | None:
        """Look up a claim."""
        return _comparable(
            self.store.claimed(self.qid, claim_id, now=self.hand.now)
        )

    def renew(self, claim_id: str, ttl: int = 300, grace: int = 60) -> bool:
        """Renew a claim."""
        return self.store.renew(
            self.qid, claim_id, now=self.hand.now, ttl=ttl, grace=grace
        )

    def release(self, claim_id: str) -> None:
        """Release a claim."""
        self.store.release(self.qid, claim_id, now=self.hand.now)

    def settle(
        self, claim_id: str, *settlements: Settlement
    ) -> list[bool] | None:
        """Settle messages of a claim."""
        results = self.store.settle(
            self.qid, claim_id, settlements, now=self.hand.now
        )
        return None if results is None else list(results)

    def stats(self) -> Stats:
        """Count."""
        return self.store.stats(self.qid, now=self.hand.now)

    def availability(self) -> Availability:
        """Look at what the queue offers."""
        (offer,) = self.store.availability([self.qid], now=self.hand.now)
        return offer

    def purge(self) -> None:
        """Empty the queue."""
        self.store.purge(self.qid, now=self.hand.now)

    def drop(self) -> None:
        """Empty the queue for good."""
        self.store.drop(self.qid, now=self.hand.now)

    def sweep(self) -> None:
        """Remove all that is dead in the store, piece by piece."""
        while self.store.sweep(now=self.hand.now, batch=PIECE) == PIECE:
            pass

    def everything(self) -> Sequence[Any]:
        """Return the bodies of all live messages, whatever their state."""
        return bodies(self.walk(include_claimed=True, include_delayed=True))


def _comparable(claim: Claim | None) -> Claim | None:
    """Return the claim with lists, whatever sequences the store uses."""
    if claim is None:
        return None
    return structs.replace(
        claim,
        messages=list(claim.messages),
        exhausted=list(claim.exhausted),
    )


def token() -> str:
    """Return a fresh name for a queue, a claim or a post."""
    return secrets.token_hex(16)


def message(
    body: Any, *, ttl: int = 3600, client: str = ALICE, **fields: Any
) -> NewMessage:
    """Return a message on its way."""
    fields.setdefault('rnd', secrets.token_hex(8))
    return NewMessage(
        body=json.dumps(body).encode(), ttl=ttl, client=client, **fields
    )


def deleted(message_id: str) -> Settlement:
    """Return what deletes a message of a claim."""
    return Settlement(message_id, Act.DELETE)


def released(message_id: str, seconds: int = 0, **options: Any) -> Settlement:
    """Return what releases one, after some seconds."""
    return Settlement(message_id, Act.RELEASE, seconds, **options)


def extended(message_id: str, seconds: int) -> Settlement:
    """Return what lets one be held for so many seconds."""
    return Settlement(message_id, Act.EXTEND, seconds)


def bodies(messages: Iterable[Message]) -> list[Any]:
    """Return what the messages say."""
    return [json.loads(message.body) for message in messages]


def ids(messages: Iterable[Message]) -> list[str]:
    """Return the ids of messages."""
    return [message.id for message in messages]
