# SPDX-License-Identifier: Apache-2.0
"""Abstract stores: the contract of drivers; see also :mod:`zaqar.storage`."""

import abc
from collections.abc import Callable, Sequence

from zaqar import store_clock
from zaqar.objects import (
    Claim,
    Data,
    Message,
    NewMessage,
    Page,
    Record,
    Settlement,
)
from zaqar.storage.store_inspection_interface import InspectableStore
from zaqar.storage.store_watch_interface import WatchableStore

#: Entries that one :meth:`MessageStore.list` looks at, at most.
SCAN_LIMIT = 1000

#: Milliseconds for which the token of a post is remembered, at least.
TOKEN_LIFETIME = 600_000

#: Milliseconds for which the tombstone of a dropped queue stands, at least.
TOMBSTONE_LIFETIME = 3_600_000

#: Exhausted messages that one claim returns, at most.
MAX_EXHAUSTED = 100

#: The queue of a store with the notices of all posts to queues that may have
#: subscribers.
OUTBOX = 'outbox'

#: The queue of what notifiers make of them: a message for each subscriber.
PENDING = f'{OUTBOX}.dues'

#: The queue of those that were given up and may be sent again.
GIVEN_UP = f'{OUTBOX}.given_up'


class Store(abc.ABC):
    """What both kinds of stores offer."""

    #: The clock of the server behind the store; see :mod:`zaqar.store_clock`.
    clock: store_clock.Clock

    #: What a ping reaches, None if that is not known. Of stores with equal
    #: ones, one ping is enough.
    server: object = None

    #: Whether greenlets of an event loop may call it: it never blocks the loop
    #: then, nor holds a lock of threads while it waits.
    waits_in_greenlets = False

    @abc.abstractmethod
    def ping(self) -> None:
        """Return when the server answers.

        :raises StoreUnavailable: it does not
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Give back all connections. The store is not used again."""


class MessageStore(Store, WatchableStore, InspectableStore):
    """Messages and claims of queues, each queue known by its ``qid``."""

    @property
    def has_groups(self) -> bool:
        """Whether claims and pops obey the groups of messages.

        Elsewhere posts with a group are refused.
        """
        return False

    @abc.abstractmethod
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
        token_lifetime: int = TOKEN_LIFETIME,
    ) -> Sequence[str]:
        """Append messages, all or none, and return their ids in order.

        A repeated ``token``, within :data:`TOKEN_LIFETIME` or while the dead
        letter posted with it alone lives, stores nothing and returns the ids
        of the first time. Messages with an ``id`` of their own (dead letters;
        then all of the post have one) are known by it from then on, and are
        put at the end of the queue like any other.

        :param token: at most 64 characters
        :param limit: live messages the queue may hold afterwards; 0 for any
            number. Expired ones do not count. Dead letters pass 0.
        :param notice: creates the message that is added to :data:`OUTBOX` if
            the queue may have subscribers: in the same transaction where the
            store can, else right after it and before the return. A repeated
            post adds no second one, but adds one that the first try did not.
            Called with the places in the post of the messages that were
            stored, not at all without any; not needed for a queue without
            subscribers.
        :param version: of the metadata that the messages were made with
        :param dedup_window: seconds for which the ``dedup_id`` of a message
            is remembered from now on, 0 to ignore them. A message with one
            that the queue remembers is not stored: its place in the ids holds
            the id of the first one, whether or not that still exists. The
            same within one post. A purge forgets none.
        :param fingerprint: of the post, 64 characters at most. Then the token
            is remembered for ``token_lifetime`` milliseconds, purge or not,
            and is refused for a post with another fingerprint. The ids of a
            repetition are :class:`~.ids_of_repeated_posts.RepeatedIds`, unless
            its messages have the random halves of the first time: it is the
            same call then, which the driver has tried again.
        :raises TokenReused: it is; nothing is stored
        :raises StaleMetadata: it is too old; nothing is stored
        :raises QueueFull: the limit would be exceeded; nothing is stored
        :raises QueueGone: the queue was dropped; nothing is stored
        """

    @abc.abstractmethod
    def require_version(self, qid: str, version: int, *, now: int) -> None:
        """Refuse metadata older than this version from the return on.

        A number that is not greater than the current one changes nothing.

        :raises QueueGone: the queue was dropped
        """

    @abc.abstractmethod
    def mark_subscribed(self, qid: str, *, now: int) -> None:
        """Set the flag: every post after the return adds a notice.

        A purge keeps the flag.

        :raises QueueGone: the queue was dropped
        """

    @abc.abstractmethod
    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        """Return the epoch of the flag, 0 if the queue has no subscribers.

        Every :meth:`mark_subscribed` begins a new one, which the queue never
        had before. That of a queue never seen is 1.

        :raises QueueGone: the queue was dropped
        """

    @abc.abstractmethod
    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        """Clear the flag, if it is still of this epoch.

        :returns: False, and nothing changes, if it is not
        :raises QueueGone: the queue was dropped
        """

    @abc.abstractmethod
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
        """List live messages after ``marker``, oldest first.

        ``marker`` is the ``resume`` of a page or the id of a message, which
        may be gone by now; paging skips nothing that was committed before
        a page was read and repeats nothing. A marker that is neither
        gives an empty page without ``resume``.

        Scans :data:`SCAN_LIMIT` entries at most: a page with a ``resume`` may
        be short, even empty. ``resume`` is None only at the end of the queue;
        after a full page it names the last message of that page. Messages
        carry their own ``marker`` too.

        :param exclude_client: omit messages posted by this client
        :param include_claimed: show those under a live claim too
        :param include_delayed: show those whose delay has not passed too
        """

    @abc.abstractmethod
    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        """Return the live ones of ``ids``, each once, in queue order."""

    @abc.abstractmethod
    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        """Delete a message; an absent one is fine.

        :param claim_id: the live claim that must hold it; None for a
            message that must not be claimed
        :raises MessageClaimed: it is held by a live claim, and ``claim_id``
            is None or names another live claim of the queue
        :raises InvalidDeletion: ``claim_id`` names no live claim, or the
            message is free
        """

    @abc.abstractmethod
    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        """Delete messages, claimed or not; absent ones are fine.

        :param claim_ids: if given, live claims that together must hold every
            live message named, else nothing is deleted
        :raises MessageClaimed: a message is free or in another claim
        :raises InvalidDeletion: one of ``claim_ids`` is no live claim
        """

    @abc.abstractmethod
    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        """Take and delete up to ``limit`` free messages, oldest first.

        Atomic; counts as no claim.
        """

    @abc.abstractmethod
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
        """Take up to ``limit`` free messages, oldest first.

        A message is free when it has not expired, its delay has passed, and
        no live claim holds it. Those of a group are taken in order without a
        gap, and not while one of them is held, or waits after a release.

        A claim made at ``t`` is dead at exactly ``t + ttl``. A message that
        would expire before that gets the shown ttl ``ttl + grace`` and expires
        at ``t + ttl + grace``.

        The count of each message handed out goes up by one. With
        ``max_claims`` messages whose count has reached it are not handed out:
        those before the last message taken, or all free ones when fewer than
        ``limit`` could be taken, are returned as ``exhausted`` (at most
        :data:`MAX_EXHAUSTED`), held by the claim, on top of ``limit``.

        :param claim_id: chosen by the caller, at most 64 of
            ``[A-Za-z0-9_-]``; repeating a call with it takes nothing twice
        :param version: of the metadata that ``max_claims`` is from
        :param only: ids of messages, of which it takes those that are free
            and no others; ``max_claims`` is 0 then. For moves of messages:
            those of a group are not taken
        :raises StaleMetadata: it is too old; nothing is taken
        :returns: the claim, or None (no claim is made) without any message
        """

    @abc.abstractmethod
    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        """Return a live claim that still holds messages, else None."""

    @abc.abstractmethod
    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        """Prolong a live claim and all that it holds, as if claimed now.

        Counts stay. Lifetimes of messages are raised as by :meth:`claim`.

        :returns: False if there is no such live claim
        """

    @abc.abstractmethod
    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool] | None:
        """Delete, release or extend messages of a live claim, in one step.

        Each message by itself: one that the claim does not hold stays as it
        is. A released message returns to its place, and is delayed if that is
        to take some seconds. An extended one is held for so many seconds from
        now on, whatever its former end; its lifetime is raised as by
        :meth:`claim` without grace. All others stay held until their ends.

        A claim lives until the last of its holds ends, and is dead without
        any.

        :param settlements: of each message one at most
        :returns: for each whether the claim held its message; None if there
            is no such live claim
        """

    @abc.abstractmethod
    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        """Free the messages of a claim at once; an unknown one is fine."""

    @abc.abstractmethod
    def purge(self, qid: str, *, now: int) -> None:
        """Remove all messages and claims of a queue.

        Constant time; the remains are swept later. Sequence numbers go on, so
        that markers handed out before stay valid. The flag of
        :meth:`mark_subscribed` stays, too.
        """

    @abc.abstractmethod
    def drop(self, qid: str, *, now: int) -> None:
        """Purge a queue for good: leave a tombstone."""

    @abc.abstractmethod
    def sweep(self, *, now: int, batch: int) -> int:
        """Remove dead and orphaned rows, ``batch`` at most.

        One sweeper works per server; the others return 0 at once.

        :param now: the server's own time, see
            :meth:`zaqar.store_clock.Clock.server_now`
        :returns: how many were removed; fewer than ``batch`` means clean
        """


class ManagementStore(Store):
    """Small named JSON objects: queues, topics, pools, subscriptions, ...

    The key is ``(kind, parent, name)``: ``kind`` is one of our own words,
    ``parent`` any text (usually a project), ``name`` another; their length is
    bounded in :mod:`.record_key_check_and_data_encoding`. All three are
    compared byte by byte as UTF-8: blanks, case and patterns have no meaning.
    """

    @abc.abstractmethod
    def create(self, kind: str, parent: str, name: str, data: Data) -> bool:
        """Store a new record.

        :returns: False, and nothing changes, if the name is taken
        """

    @abc.abstractmethod
    def get(self, kind: str, parent: str, name: str) -> Record | None:
        """Return the record, or None."""

    @abc.abstractmethod
    def replace(
        self, kind: str, parent: str, name: str, data: Data, *, version: int
    ) -> bool:
        """Store other data, if the record still has this version.

        The next version is a greater number.

        :returns: False if it is gone or was changed since it was read
        """

    @abc.abstractmethod
    def delete(
        self, kind: str, parent: str, name: str, *, version: int | None = None
    ) -> Record | None:
        """Remove a record, of this version if given; return it, or None."""

    @abc.abstractmethod
    def list(
        self, kind: str, parent: str, *, after: str | None, limit: int
    ) -> Sequence[Record]:
        """Return records by name, byte-wise ascending.

        All that were committed before the call, through any server.

        :param after: names strictly greater; need not exist
        """

    @abc.abstractmethod
    def count(self, kind: str, parent: str) -> int:
        """Return the number of records of a kind under a parent."""
