# SPDX-License-Identifier: Apache-2.0
"""The work of a redrive, batch by batch, safe against a kill at any step.

The number of a batch gives the id of the claim that holds its messages, and
the tokens of the posts to its targets. A batch is claimed, posted, recorded
with the ids of what was posted, and deleted. Whoever takes over looks for that
claim: if it holds messages, they are posted under the same token, by which the
store recognizes them, and only what it says to have stored is recorded and
deleted.

A message gets a new id in its target: under the former one it could come back
to the dead-letter queue before it is deleted there. The random half stays,
since encryption is bound to it; by it the stored ones are known.

:source: reference/storage, "Redrives"
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from zaqar.controllers import message_moves
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.leased_redrive_record import LeasedJob, Lost
from zaqar.controllers.message_encryption import UNREADABLE
from zaqar.controllers.message_moves import Move
from zaqar.controllers.redrive_records import Redrive, Status
from zaqar.controllers.redrive_selection import Selection
from zaqar.errors import QueueFull, QueueGone, StoreUnavailable, ZaqarError
from zaqar.objects import Act, Claim, Scope, Settlement
from zaqar.storage.abstract_stores import MessageStore

#: Seconds for which a batch is held, should all notifiers die, and for which
#: its messages outlive that.
CLAIM_TTL, CLAIM_GRACE = 600, 60

#: Milliseconds for which the post of a batch is recognized: much longer than
#: its claim lasts.
TOKEN_LIFETIME = 7 * 86_400_000

#: Messages of a page and of a batch, bytes of a batch, and pages read and
#: seconds spent in one step in search of a message.
PAGE, MAX_BATCH_BYTES, MAX_PAGES, MAX_SECONDS = 100, 1 << 20, 20, 2.0

#: Batches in a second, if the rate allows for several messages in each.
BATCHES = 5

#: Seconds before the next try after a target was full or a store was down.
PAUSE = 1.0

UNAVAILABLE = 'A store does not respond.'
DELETED = 'The queue was deleted, or has moved to another pool.'


class _Match(msgspec.Struct, frozen=True):
    """A message of a page that matches."""

    id: str
    marker: str
    ttl: int
    size: int


class Run:
    """A redrive that this process works on.

    :param ctx: its identity is not used
    :param owner: the name of the lease
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        ctx: Context,
        scope: Scope,
        owner: str,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ctx = ctx
        self._job = LeasedJob(ctx, scope, owner)
        self._scope = scope
        self._timer = timer
        #: Whether a batch may be half done, by this process or another one.
        self._is_doubtful = True
        #: Claim whose messages have been deleted and released.
        self._closed = ''
        self._matches: Sequence[_Match] = ()
        self._marker: str | None = None
        self._is_at_end = False
        self._next_at = timer()

    def take(self) -> bool:
        """Take the lease, if nobody has it; return whether this one has."""
        return self._job.take()

    def leave(self) -> None:
        """Let others continue at once."""
        with contextlib.suppress(Lost, StoreUnavailable):
            self._job.leave()

    def step(self) -> float | None:
        """Move a batch, or try to.

        :returns: the seconds until the next step, None after the last one
        """
        try:
            return self._step()
        except Lost:
            return None
        except QueueGone:
            # The next step finds out why.
            self._ctx.catalogue.forget(self._scope)
            self._restart()
            return 0.0
        except StoreUnavailable:
            self._restart()
            self._explain(UNAVAILABLE)
            return PAUSE
        except Exception:
            self._restart()
            raise

    def _explain(self, waits: str) -> None:
        """Show what the redrive waits for, and keep the lease meanwhile."""

        def edit(redrive: Redrive) -> None:
            if not redrive.has_ended:
                redrive.error = waits

        # Perhaps it is the management store that does not respond.
        with contextlib.suppress(Lost, StoreUnavailable):
            self._job.save(edit)

    def _restart(self) -> None:
        """Begin the next step as another process would."""
        self._is_doubtful = True
        self._search_from(None)

    def _search_from(self, marker: str | None) -> None:
        self._matches, self._marker, self._is_at_end = (), marker, False

    def _step(self) -> float | None:
        redrive = self._job.read()
        queue = self._ctx.catalogue.find(self._scope)
        if queue is None or queue.qid != redrive.qid:
            queue = self._ctx.catalogue.read(self._scope)
        if queue is None or queue.qid != redrive.qid:
            return self._finish('failed', DELETED)
        store = self._ctx.catalogue.store(queue)
        self._close(store, redrive)
        if self._is_doubtful:
            claim = store.claimed(
                queue.qid, redrive.claim_id, now=store.clock.now()
            )
            if claim is not None:
                return self._move(store, redrive, claim, None)
            redrive = self._job.save_try()
            self._is_doubtful = False
        if redrive.has_ended:
            return self._finish(redrive.status)
        return self._next(store, redrive)

    def _next(self, store: MessageStore, redrive: Redrive) -> float | None:
        """Move the next batch."""
        left = self._next_at - self._timer()
        if left > 0:
            self._job.renew()
            return min(left, PAUSE)
        if redrive.limit is not None and redrive.moved >= redrive.limit:
            return self._finish('done')
        if not self._matches:
            self._search(store, redrive)
        if not self._matches:
            if self._is_at_end:
                return self._finish('done')
            self._job.renew()
            return 0.0
        batch = self._next_batch(redrive)
        self._is_doubtful = True
        claim = store.claim(
            redrive.qid,
            now=store.clock.now(),
            claim_id=redrive.claim_id,
            ttl=CLAIM_TTL,
            grace=CLAIM_GRACE,
            limit=len(batch),
            only=[one.id for one in batch],
        )
        if claim is None:
            claim = Claim(redrive.claim_id, 0, 0, ())
        return self._move(store, redrive, claim, batch)

    def _search(self, store: MessageStore, redrive: Redrive) -> None:
        """Look for the next messages that match."""
        selection = Selection(redrive, self._ctx.cipher)
        marker = self._marker or redrive.marker
        end = self._timer() + MAX_SECONDS
        is_late = False
        for _ in range(MAX_PAGES):
            page = store.list(
                redrive.qid, now=store.clock.now(), limit=PAGE, marker=marker
            )
            matches = []
            is_past = bool(page.messages)
            last, marker = marker, page.resume
            for one in page.messages:
                if is_late:
                    # Before another notifier takes the lease.
                    is_past, marker = False, last
                    break
                if selection.target(one) is not None:
                    matches.append(
                        _Match(one.id, one.marker, one.ttl, len(one.body))
                    )
                is_past = is_past and selection.is_newer(one)
                is_late, last = self._timer() >= end, one.marker
            self._matches, self._marker = matches, marker
            self._is_at_end = marker is None or is_past
            if matches or self._is_at_end or is_late:
                return

    def _next_batch(self, redrive: Redrive) -> Sequence[_Match]:
        most = PAGE
        if redrive.rate is not None:
            most = min(most, max(1, redrive.rate // BATCHES))
        if redrive.limit is not None:
            most = min(most, redrive.limit - redrive.moved)
        count, size = 0, 0
        for one in self._matches[:most]:
            size += one.size
            if count and size > MAX_BATCH_BYTES:
                break
            count += 1
        batch, self._matches = self._matches[:count], self._matches[count:]
        return batch

    def _move(
        self,
        store: MessageStore,
        redrive: Redrive,
        claim: Claim,
        batch: Sequence[_Match] | None,
    ) -> float | None:
        """Post, record and delete what a claim holds.

        :param batch: what it was to hold; None after another process
        """
        ttls = {one.id: one.ttl for one in batch or ()}
        unreadable, posts = self._planned(redrive, claim, ttls)
        moved, waits, fault = self._post(redrive, posts)
        is_whole = len(moved) + len(unreadable) == len(claim.messages)
        ends = [one.marker for one in batch or claim.messages]
        passed = len(unreadable)
        if is_whole and batch is not None:
            # Others have claimed or deleted the rest.
            passed += len(batch) - len(claim.messages)
        elif not is_whole:
            # Those before the first one that has to wait.
            ends, passed = [], 0
            for one in claim.messages:
                if one.id not in moved | unreadable:
                    break
                ends.append(one.marker)
                passed += one.id in unreadable
        before = redrive

        def edit(redrive: Redrive) -> None:
            redrive.moved = before.moved + len(moved)
            redrive.matched = before.matched + len(moved) + passed
            redrive.marker = ends[-1] if ends else before.marker
            redrive.batch = before.batch + 1
            redrive.tries = 0
            redrive.closing = sorted(moved)
            redrive.closing_claim = claim.id
            if not redrive.has_ended:
                redrive.error = waits

        held = [one.id for one in claim.messages]
        self._close(store, self._job.save(edit), held)
        self._is_doubtful = False
        if not is_whole or batch is None:
            self._search_from(None)
        if fault is not None:
            return self._finish('failed', fault)
        return PAUSE if waits else self._paced(redrive, len(moved))

    def _planned(
        self, redrive: Redrive, claim: Claim, ttls: Mapping[str, int]
    ) -> tuple[set[str], Mapping[Scope, Sequence[Move]]]:
        """Return unreadable messages, and the others by their target."""
        selection = Selection(redrive, self._ctx.cipher)
        unreadable: set[str] = set()
        posts: dict[Scope, list[Move]] = {}
        for message in claim.messages:
            target = selection.target(message)
            ttl = ttls.get(message.id, message.ttl)
            try:
                move = message_moves.to_new_life(
                    self._ctx, self._scope, message, ttl
                )
            except UNREADABLE:
                target = None
            if target is None:
                unreadable.add(message.id)
            else:
                posts.setdefault(target, []).append(move)
        return unreadable, posts

    def _post(
        self, redrive: Redrive, posts: Mapping[Scope, Sequence[Move]]
    ) -> tuple[set[str], str | None, str | None]:
        """Post to each target.

        :returns: ids of the messages that were stored, now or by the same post
            before; what others wait for; why the redrive has failed
        """
        moved: set[str] = set()
        waits = fault = None
        for target, moves in posts.items():
            self._job.confirm()
            token = redrive.token(target)
            try:
                moved |= message_moves.post(
                    self._ctx,
                    target,
                    moves,
                    token,
                    token_lifetime=TOKEN_LIFETIME,
                )
            except QueueFull as full:
                waits = f'{target.kind.capitalize()} {target.name}: {full}'
            except StoreUnavailable:
                raise
            except ZaqarError as error:
                fault = f'{target.kind.capitalize()} {target.name}: {error}'
        return moved, waits, fault

    def _close(
        self,
        store: MessageStore,
        redrive: Redrive,
        held: Sequence[str] | None = None,
    ) -> None:
        """Delete what has been moved, and release what has not.

        :param held: messages of the claim; None if that is not known
        """
        claim_id = redrive.closing_claim
        if claim_id == self._closed:
            return
        now = store.clock.now()
        if held is None:
            claim = store.claimed(redrive.qid, claim_id, now=now)
            held = [one.id for one in claim.messages] if claim else ()
        settlements = [
            Settlement(one, Act.DELETE)
            if one in redrive.closing
            # It was not handed out to a worker.
            else Settlement(one, Act.RELEASE, failed=False)
            for one in held
        ]
        is_settled = bool(held) and (
            store.settle(redrive.qid, claim_id, settlements, now=now)
            is not None
        )
        if redrive.closing and not is_settled:
            # The claim has ended; they are in their targets all the same.
            store.delete_many(redrive.qid, redrive.closing, now=now)
        self._closed = claim_id

    def _paced(self, redrive: Redrive, count: int) -> float:
        """Return the seconds until the next batch."""
        if redrive.rate is None:
            return 0.0
        now = self._timer()
        # What was missed for longer than that is not made up for.
        self._next_at = max(self._next_at, now - 1) + count / redrive.rate
        return min(max(self._next_at - now, 0.0), PAUSE)

    def _finish(
        self, status: Status, error: str | None = None
    ) -> float | None:
        """End the redrive; there is no next step."""
        now = self._job.now()
        self._job.save(lambda redrive: redrive.end(status, now, error))
        self._job.archive()
        return None
