# SPDX-License-Identifier: Apache-2.0
"""The message store on Redis: one script call for each operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from zaqar import clock
from zaqar.errors import (
    InvalidDeletion,
    MessageClaimed,
    QueueGone,
    StaleMetadata,
    StoreUnavailable,
)
from zaqar.models import (
    Claim,
    Message,
    MessageSpan,
    NewMessage,
    Page,
    Stats,
)
from zaqar.storage import base
from zaqar.storage.redis import keys, posting, rows, scanning, scripts
from zaqar.storage.redis.scripts import Script
from zaqar.storage.redis.server import DEADLINE, Server
from zaqar.storage.redis.sweeping import Sweeper

#: What scripts begin their answers with.
OK, AGAIN, GONE, FULL, CLAIMED, INVALID, UNKNOWN, STALE = range(8)

#: Messages that a script frees or removes before it does what it was called
#: for, and when it is called only to go on with that.
STEPS = 200
MORE_STEPS = 1000

#: Exhausted messages that one claim passes over, at most.
MOST_PASSED_OVER = 10_000

#: Bytes of messages that a list passes over in one call, at most.
MOST_HIDDEN = 4 << 20

#: Milliseconds for which a tombstone stands by the server's own clock.
TOMBSTONE = 4_500_000


class MessageStore(base.MessageStore):
    """Messages and claims on a server.

    :param server: belongs to this store from now on
    :param prefix: what all its keys begin with
    """

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._home = keys.of_server(prefix)
        self.clock = clock.Clock(lambda: server.now(self._home))
        self._posts = posting.Posts(server, prefix)
        self._sweeper = Sweeper(server, prefix)

    def ping(self) -> None:
        self._server.ping(self._home)

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
        return self._posts.post(
            qid,
            messages,
            now=now,
            token=token,
            limit=limit,
            notice=notice,
            version=version,
        )

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._run(scripts.REQUIRE, qid, now, (version,))

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
        begin = (-1, '') if marker is None else rows.parse_marker(marker)
        if begin is None:
            return Page([])
        arguments = (
            limit,
            begin[0],
            begin[1],
            _text(exclude_client or ''),
            int(include_claimed),
            int(include_delayed),
            base.SCAN_LIMIT,
            MOST_HIDDEN,
        )
        resume, *flat = self._go_on(
            scripts.LIST, qid, now, arguments, writes=False
        )
        found = rows.decode_all(flat, now)
        if len(found) == limit and found:
            return Page(found, found[-1].marker)
        return Page(found, rows.make_marker(int(resume)) if resume else None)

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        wanted = _triples(dict.fromkeys(ids))
        flat = self._run(
            scripts.GET, qid, now, (len(wanted) // 3, *wanted), writes=False
        )
        return sorted(rows.decode_all(flat, now), key=lambda item: item.marker)

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        wanted = _triples([message_id]) or [-1, '', '']
        claim = '' if claim_id is None else rows.claim_id(claim_id)
        self._run(scripts.DELETE, qid, now, (claim, *wanted))

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        claims: list[Any] = [-1]
        if claim_ids is not None:
            claims = [len(claim_ids), *map(rows.claim_id, claim_ids)]
        wanted = _triples(ids)
        self._run(
            scripts.DELETE_MANY,
            qid,
            now,
            (*claims, len(wanted) // 3, *wanted),
        )

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        flat = self._go_on(scripts.POP, qid, now, (limit,))
        return rows.decode_all(flat, now)

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
        arguments = (claim_id, ttl, grace, limit, max_claims)
        found = self._go_on(
            scripts.CLAIM,
            qid,
            now,
            (
                *arguments,
                base.MAX_EXHAUSTED,
                MOST_PASSED_OVER,
                '' if version is None else version,
            ),
        )
        if not found:
            return None
        ttl_text, ends, *flat = found
        taken: list[Message] = []
        spent: list[Message] = []
        messages = rows.decode_all(flat, now)
        for message, record in zip(messages, flat[2::3], strict=True):
            (spent if rows.is_spent(record) else taken).append(message)
        return Claim(
            claim_id,
            int(ttl_text),
            int(ends),
            taken,
            spent,
        )

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        claim = rows.claim_id(claim_id)
        found = self._run(scripts.CLAIMED, qid, now, (claim,), writes=False)
        if len(found) < 3:
            return None
        ttl, ends, *flat = found
        messages = rows.decode_all(flat, now)
        return Claim(claim_id, int(ttl), int(ends), messages)

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        claim = rows.claim_id(claim_id)
        return bool(self._run(scripts.RENEW, qid, now, (claim, ttl, grace))[0])

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        self._run(scripts.RELEASE, qid, now, (rows.claim_id(claim_id),))

    def stats(self, qid: str, *, now: int) -> Stats:
        free, claimed, *flat = self._go_on(
            scripts.STATS, qid, now, (rows.HEAD,), writes=False
        )
        if not flat:
            return Stats()
        oldest, newest = rows.head(*flat[:2]), rows.head(*flat[3:5])
        return Stats(free, claimed, MessageSpan(*oldest), MessageSpan(*newest))

    def purge(self, qid: str, *, now: int) -> None:
        self._run(scripts.PURGE, qid, now, ())

    def drop(self, qid: str, *, now: int) -> None:
        # One that has been dropped keeps the tombstone it has.
        self._ask(scripts.DROP, qid, now, (TOMBSTONE,))

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._run(scripts.MARK, qid, now, ('set',))

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return int(
            self._run(scripts.MARK, qid, now, ('get',), writes=False)[0]
        )

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        names = keys.of_queue(self._prefix, qid, now)
        status, *done = self._server.run(
            scripts.MARK, names, (now, 'clear', epoch), tells=True
        )
        _check(status)
        return bool(done[0])

    def volume(self, *, now: int) -> Stats:
        return scanning.volume(self._server, self._prefix, now)

    def sweep(self, *, now: int, batch: int) -> int:
        return self._sweeper.sweep(now, batch)

    def close(self) -> None:
        self._server.close()

    def _ask(
        self,
        script: Script,
        qid: str,
        now: int,
        arguments: Sequence[Any],
        *,
        writes: bool = True,
    ) -> Any:
        names = keys.of_queue(self._prefix, qid, now)
        return self._server.run(
            script, names, (now, *arguments), writes=writes
        )

    def _run(
        self,
        script: Script,
        qid: str,
        now: int,
        arguments: Sequence[Any],
        *,
        writes: bool = True,
    ) -> Any:
        """Run a script and return its answer.

        :raises QueueGone: the queue was dropped
        """
        status, *found = self._ask(script, qid, now, arguments, writes=writes)
        _check(status)
        return found

    def _go_on(
        self,
        script: Script,
        qid: str,
        now: int,
        arguments: Sequence[Any],
        *,
        writes: bool = True,
    ) -> Any:
        """Run a script until it has done what it was called for.

        Usually that is once. After very many messages have expired or come
        back at the same time it takes several calls, so that none of them
        keeps the server from others for long.
        """
        end = time.monotonic() + DEADLINE
        steps = STEPS
        while True:
            status, *found = self._ask(
                script, qid, now, (steps, *arguments), writes=writes
            )
            if status != AGAIN:
                _check(status)
                return found
            if time.monotonic() > end:
                raise StoreUnavailable
            steps = MORE_STEPS


def _check(status: int) -> None:
    """Raise what a script has found.

    :raises QueueGone: the queue was dropped
    :raises StaleMetadata: the metadata of the call is too old
    :raises MessageClaimed: a message is held by another claim
    :raises InvalidDeletion: it is held by none, or the claim is none
    """
    if status == GONE:
        raise QueueGone
    if status == STALE:
        raise StaleMetadata
    if status == CLAIMED:
        raise MessageClaimed(
            'This message is claimed; it cannot be deleted without a valid '
            'claim ID.'
        )
    if status == INVALID:
        raise InvalidDeletion(
            'A claim was specified, but the message is not currently claimed.'
        )
    if status == UNKNOWN:
        raise InvalidDeletion(
            'The specified claim does not exist or has expired.'
        )


def _triples(ids: Sequence[str] | dict[str, Any]) -> list[Any]:
    """Return place, random half and id of each that is one."""
    return [part for text in ids for part in rows.triple(text) or ()]


def _text(client: str) -> bytes:
    """Return a client's name; half a character is nobody's."""
    return client.encode(errors='replace')
