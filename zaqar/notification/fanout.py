# SPDX-License-Identifier: Apache-2.0
"""Fan-out of notices to pending deliveries, one per subscriber.

Connections of one WebSocket server share one. Notices are claimed. Where all
deliveries of one are likely to begin soon, they are made at once, and the
notice stays claimed until the last one ends. Others are stored, and then the
notice is deleted; a long one stays, delayed, until no delivery refers to it.
If a notifier dies in between, the next one repeats this: its deliveries have
the same ids and, if nothing else came in between, the same token, so that the
store recognizes them. What exceeds the share of a project stays claimed
meanwhile.
"""

import itertools
import math
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from zaqar.controllers import outbox_notices, outbox_records
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.outbox_notices import FANNED_OUT, PostNotice
from zaqar.notification import (
    repeatable_outbox_posts,
    unreadable_outbox_records,
)
from zaqar.notification.claimed_delivery_and_lease import UNIT
from zaqar.notification.fanout_fairness_between_projects import ProjectShares
from zaqar.notification.notice_subscribers_and_filters import NoticeDeliveries
from zaqar.notification.pending_byte_usage_writer import Count, count_nothing
from zaqar.notification.referenced_notices import ReferencedNotices
from zaqar.notification.resend_and_replay import Step
from zaqar.objects import NewMessage, random_half
from zaqar.storage.abstract_stores import (
    GIVEN_UP,
    OUTBOX,
    PENDING,
    MessageStore,
)
from zaqar.storage.splitting_into_posts import batches

#: Returns the seconds for which a host has no room for a project, if any.
ExpectedWait = Callable[[str, str], float | None]

#: Maximum number of notices per claim, and its seconds.
BATCH = 100
NOTICE_LEASE = 30

#: Maximum number of deliveries of a notice that are not stored: all of them
#: are repeated if this process is killed before the last one ends.
MAX_UNSTORED = 300


class _Stored(NamedTuple):
    """A pending delivery that is about to be stored.

    :ivar name: what it is recognized by, with all others of the post
    """

    rnd: str
    source: str
    project: str
    size: int
    name: str


class Fanout:
    """Makes the deliveries of the notices of one store.

    :param notices: those that pending deliveries refer to
    :param shares: those of projects; by default all have what they like
    :param expected_wait: returns for how many seconds a host has no room for a
        project, if at all
    :param is_quick: tells whether deliveries to a host would begin soon: if
        all of a notice would, none is stored, and the notice stays claimed
    :param count_bytes: see :mod:`.pending_byte_usage_writer`
    """

    def __init__(
        self,
        ctx: Context,
        notices: ReferencedNotices | None = None,
        shares: ProjectShares | None = None,
        expected_wait: ExpectedWait = lambda host, project: None,
        is_quick: Callable[[str], bool] = lambda host: False,
        count_bytes: Count = count_nothing,
    ) -> None:
        self._ctx = ctx
        self._notices = notices or ReferencedNotices(ctx.cipher)
        self._shares = shares or ProjectShares.unlimited()
        self._expected_wait = expected_wait
        self._is_quick = is_quick
        self._count_bytes = count_bytes
        #: Where to continue with notices that are fanned out in part.
        self._places: dict[str, str] = {}

    def expand(
        self, store: MessageStore, pause: Callable[[], None] = lambda: None
    ) -> NoticeDeliveries | None:
        """Fan out waiting notices, None if there are none.

        :param pause: called now and then, for work that cannot wait
        """
        since = store.clock.now()
        claim = store.claim(
            OUTBOX,
            now=since,
            claim_id=secrets.token_hex(16),
            ttl=NOTICE_LEASE,
            grace=NOTICE_LEASE,
            limit=BATCH,
        )
        pause()
        if claim is None:
            return None
        before = [one.id for one in claim.messages if one.reason == FANNED_OUT]
        self._notices.check(store, claim.id, before)
        new = [one for one in claim.messages if one.reason != FANNED_OUT]
        readable, unreadable = outbox_records.read_all(
            new, lambda message: outbox_notices.read(self._ctx.cipher, message)
        )
        places = dict(self._places)
        made = NoticeDeliveries(
            self._ctx, store, claim, since, readable, self._shares, places
        )
        stored: list[_Stored] = []
        ids = self._store(store, made, stored, pause)
        # The next one must not go on behind what is not stored.
        self._places = places
        # Else they were stored before, perhaps for other subscribers.
        is_new = [*map(random_half, ids)] == [one.rnd for one in stored]
        if is_new:
            # At once: who repeats this does not count it.
            sizes: Counter[str] = Counter()
            for one in stored:
                sizes[one.project] += one.size
            for project, size in sizes.items():
                self._count_bytes(project, size)
        _end_steps(store, made.steps)
        if unreadable:
            unreadable_outbox_records.requeue(store, OUTBOX, unreadable)
        # What was begun earlier has deliveries that nobody knows of here.
        left = {message.id for message, _ in made.left}
        stay = {one.source for one in stored if one.source} | made.parts
        stay -= left
        # Before anything is sent: who repeats this later may have others to
        # fan out as well, and then the store does not recognize these.
        settlements = [
            *ReferencedNotices.staying(stay),
            *self._shares.hold(claim.id, made.left, since),
        ]
        if settlements:
            store.settle(OUTBOX, claim.id, settlements, now=store.clock.now())
        for message, notice in readable:
            if message.id in stay and isinstance(notice, PostNotice):
                self._notices.cache(message.id, notice.messages)
        if is_new:
            referring: defaultdict[str, list[str]] = defaultdict(list)
            for message_id, one in zip(ids, stored, strict=True):
                referring[one.source].append(message_id)
            for source in referring.keys() & (stay - made.parts):
                self._notices.add(source, referring[source])
        done = [one.id for one in new if one.id not in left]
        made.fresh = len(done)
        made.ended = [
            one for one in done if not (one in stay or one in made.unstored)
        ]
        return made

    def _store(
        self,
        store: MessageStore,
        made: NoticeDeliveries,
        stored: list[_Stored],
        pause: Callable[[], None],
    ) -> Sequence[str]:
        """Store the deliveries of notices; return their ids in the store.

        :param stored: takes those that need to be stored
        """
        ids: list[str] = []
        for batch in batches(self._records(made, stored)):
            if ids:
                pause()
            part = stored[len(ids) : len(ids) + len(batch)]
            token = repeatable_outbox_posts.token_of(
                [one.name for one in part]
            )
            now = store.clock.now()
            ids += store.post(PENDING, batch, now=now, token=token)
        return ids

    def _records(
        self, made: NoticeDeliveries, stored: list[_Stored]
    ) -> Iterator[NewMessage]:
        for notice_id, deliveries in made.make():
            first = [*islice(deliveries, MAX_UNSTORED + 1)]
            if (
                first
                and len(first) <= MAX_UNSTORED
                and self._shares.has_room
                and made.is_whole(notice_id)
                and all(self._is_quick(pending.host) for pending in first)
            ):
                made.unstored[notice_id] = first
                # They share the messages.
                weight = len(first) + first[0].size // UNIT
                self._shares.begin_unstored(
                    first[0].project, len(first), weight
                )
                continue
            for pending in itertools.chain(first, deliveries):
                host, project = pending.host, pending.project
                wait = self._expected_wait(host, project)
                self._shares.store(project, host, is_due=wait is None)
                delay = 0
                if wait is not None:
                    pending.deferrals = 1
                    delay = math.ceil(wait * (1 + random.random()))
                record = pending.to_store(self._ctx.cipher, delay=delay)
                name = f'{notice_id}{made.contents(notice_id)} {pending.name}'
                stored.append(
                    _Stored(
                        record.rnd, pending.source, project, pending.size, name
                    )
                )
                yield record


def _end_steps(store: MessageStore, steps: Mapping[str, Step]) -> None:
    """Store what is left of requests, and delete what was sent again."""
    rests = [
        outbox_records.encode(None, step.rest[0], delay=step.rest[1])
        for step in steps.values()
        if step.rest is not None
    ]
    repeatable_outbox_posts.post(store, OUTBOX, rests, [*steps, OUTBOX])
    if resent := [one for step in steps.values() for one in step.resent]:
        store.delete_many(GIVEN_UP, resent, now=store.clock.now())
