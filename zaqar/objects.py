# SPDX-License-Identifier: Apache-2.0
"""Objects that all layers share: queues, messages, claims, subscriptions.

Times end in ``_at`` and are whole milliseconds since the epoch by the clock of
the store; lifetimes (``ttl``, ``grace``, ``delay``) are whole seconds.

Structs, since each request makes dozens: frozen dataclasses take ten times as
long.
"""

import enum
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
from msgspec import structs

#: What a record holds: a JSON object.
Data = Mapping[str, Any]


class Kind(enum.StrEnum):
    """Whether a name is that of a queue or of a topic."""

    QUEUE = 'queue'
    TOPIC = 'topic'


class Scope(msgspec.Struct, frozen=True):
    """The name of a queue or topic within a project."""

    project: str
    name: str
    kind: Kind = Kind.QUEUE


class Record(msgspec.Struct, frozen=True):
    """A named object of the management store.

    ``version`` rises with every replacement; see
    :meth:`zaqar.storage.abstract_stores.ManagementStore.replace`.
    """

    name: str
    data: Data
    version: int


class Former(msgspec.Struct, frozen=True):
    """A pool in which a queue was before it moved to another one.

    :ivar until: time after which no message is stored there any more, by the
        clock of that pool
    """

    pool: str
    qid: str
    until: int


class Queue(msgspec.Struct, frozen=True):
    """An existing queue or topic.

    ``qid`` (32 hex digits) is the incarnation: a queue that is deleted and
    recreated has another one, and so never sees data of the old one.

    :ivar pool: that of its messages; '' without pools
    :ivar former: pools that may still receive late messages
    :ivar created_at: when it was created, and ``changed_at`` when its metadata
        changed last, by the clock of the management store; 0 where unknown
    :ivar origin: the qid that it was created with, '' for the present one; it
        gets another one when it moves to another pool
    """

    scope: Scope
    qid: str
    metadata: Mapping[str, Any]
    version: int
    pool: str = ''
    former: tuple[Former, ...] = ()
    created_at: int = 0
    changed_at: int = 0
    origin: str = ''

    @property
    def fingerprint(self) -> str:
        """What tells it from any other queue of its name: 16 hex digits."""
        first = (self.origin or self.qid).encode()
        return hashlib.sha256(first).hexdigest()[:16]


class NewMessage(msgspec.Struct, frozen=True):
    """A message to be stored.

    :ivar body: JSON text, stored byte for byte
    :ivar rnd: 16 hex digits, the random half of the id, chosen by the
        caller (unless ``id`` is set)
    :ivar client: canonical client id of the poster
    :ivar delay: seconds before it can be claimed
    :ivar id: an existing id to preserve, for dead letters only
    :ivar group: the lane of order within the queue that it belongs to: 128
        printable ASCII characters at most, without blanks
    :ivar dedup_id: text by which a duplicate is recognized, likewise
    :ivar extras: what controllers keep beside the body, stored byte for byte
    :ivar elsewhere: bytes that another store has, to which the body refers
    """

    body: bytes
    ttl: int
    rnd: str
    client: str
    delay: int = 0
    checksum: str | None = None
    id: str | None = None
    group: str | None = None
    dedup_id: str | None = None
    extras: bytes | None = None
    elsewhere: int = 0

    @property
    def size(self) -> int:
        """The bytes that it counts for, wherever they are."""
        return len(self.body) + self.elsewhere


def random_half(message_id: str) -> str:
    """Return the half of an id that does not say when it was posted."""
    return message_id[-16:]


class Message(msgspec.Struct, frozen=True):
    """A live message, as stores return it.

    :ivar id: 32 hex digits: sequence number, then the random half
    :ivar ttl: as shown to clients; a claim may have extended it
    :ivar claim_id: the *live* claim that holds it, else None
    :ivar claim_count: how often it was handed out to a claim
    :ivar visible_at: when its delay ends, None if it is not delayed
    :ivar marker: its position in the queue, for paging; unlike the id valid
        even after a dead letter has been deleted
    :ivar claim_ends_at: when the claim that holds it ends, None without one
    """

    id: str
    body: bytes
    ttl: int
    created_at: int
    client: str
    claim_id: str | None = None
    claim_count: int = 0
    checksum: str | None = None
    expires_at: int = 0
    marker: str = ''
    visible_at: int | None = None
    group: str | None = None
    extras: bytes | None = None
    reason: str | None = None
    claim_ends_at: int | None = None

    @property
    def rnd(self) -> str:
        return random_half(self.id)

    def before_claim(self) -> Self:
        """Return a claimed message as if it had not been handed out."""
        return structs.replace(
            self,
            claim_id=None,
            claim_ends_at=None,
            claim_count=self.claim_count - 1,
        )

    def to_post(self, now: int, **changes: Any) -> NewMessage:
        """Return the message for another store or queue, under its id.

        It leaves its group, unless the caller passes that on.

        :param now: in milliseconds; what is left of its life is rounded up
        :param changes: values of other members of the new message
        """
        return structs.replace(
            NewMessage(
                body=self.body,
                ttl=max(-((now - self.expires_at) // 1000), 1),
                rnd=self.rnd,
                client=self.client,
                checksum=self.checksum,
                id=self.id,
                extras=self.extras,
            ),
            **changes,
        )


class Page(msgspec.Struct, frozen=True):
    """A page of a listing.

    :ivar resume: marker from which the listing continues *without* a gap or
        a repetition, or None at the end. A page may hold fewer items than the
        limit and still have a ``resume``.
    """

    messages: Sequence[Message]
    resume: str | None = None


class Claim(msgspec.Struct, frozen=True):
    """A live claim with its messages, in posting order.

    :ivar exhausted: messages whose claim count had already reached the
        maximum; the claim holds them until the caller has moved them to the
        dead-letter queue. Empty on a query.
    """

    id: str
    ttl: int
    expires_at: int
    messages: Sequence[Message]
    exhausted: Sequence[Message] = ()

    def with_messages(self, messages: Sequence[Message]) -> Self:
        """Return the claim with these messages, and no exhausted ones."""
        return type(self)(self.id, self.ttl, self.expires_at, messages)

    def undoing(self) -> list['Settlement']:
        """Return what frees its messages as if it had not been made.

        That of an exhausted message was not counted.
        """
        return [
            Settlement(item.id, Act.RELEASE, failed=is_exhausted)
            for items, is_exhausted in (
                (self.messages, False),
                (self.exhausted, True),
            )
            for item in items
        ]


class Act(enum.Enum):
    """What becomes of a message that is settled."""

    DELETE = 1
    RELEASE = 2
    EXTEND = 3


class Settlement(msgspec.Struct, frozen=True):
    """What a claim decides about one of its messages.

    :ivar seconds: after which a released message is free, or the hold of an
        extended one ends
    :ivar failed: whether the hand-out of a released message still counts
    :ivar reason: kept with a released message; None leaves the former one
    """

    message_id: str
    act: Act
    seconds: int = 0
    failed: bool = True
    reason: str | None = None

    def end(self, now: int) -> int:
        """Return when the message is free, in milliseconds."""
        return now + self.seconds * 1000


class MessageSpan(msgspec.Struct, frozen=True):
    """One end of a queue, for its statistics."""

    id: str
    created_at: int


class Stats(msgspec.Struct, frozen=True):
    """How many live messages a queue holds.

    :ivar free: all that are not claimed, hence the next two as well
    :ivar delayed: whose delay has not passed
    :ivar held_by_groups: that no claim can take before another message of
        their group is settled
    :ivar oldest_free_at: when the oldest one that a claim could take was
        posted, None without any
    :ivar posted: rises by one with every message of the queue, from any number
        on, and perhaps with posts that were repeated; None where unknown
    """

    free: int = 0
    claimed: int = 0
    oldest: MessageSpan | None = None
    newest: MessageSpan | None = None
    delayed: int = 0
    held_by_groups: int = 0
    oldest_free_at: int | None = None
    posted: int | None = None

    @property
    def total(self) -> int:
        return self.free + self.claimed


class Subscription(msgspec.Struct, frozen=True):
    """A subscriber of a queue or topic.

    :ivar subscriber: a URI, whose scheme selects the sender
    :ivar version: of the record; rises with each change
    """

    id: str
    scope: Scope
    subscriber: str
    ttl: int
    options: Mapping[str, Any]
    confirmed: bool
    created_at: int
    expires_at: int
    version: int = 0
