# SPDX-License-Identifier: Apache-2.0
"""How claims behave. A claim has no owner: its id is all one needs."""

from __future__ import annotations

import dataclasses

import msgspec

from zaqar.controllers import dead_letters, unreadable
from zaqar.controllers.context import Context
from zaqar.controllers.limits import MIN_TTL, Limits, page_size
from zaqar.controllers.results import Claimed
from zaqar.errors import InvalidRequest, NotFound, StoreUnavailable
from zaqar.models import Claim, Queue, Scope
from zaqar.randomness import token_hex
from zaqar.storage.base import MessageStore


class ClaimOptions(msgspec.Struct):
    """The document of a claim: seconds."""

    ttl: int | msgspec.UnsetType = msgspec.UNSET
    grace: int | msgspec.UnsetType = msgspec.UNSET


def create(
    ctx: Context,
    *,
    scope: Scope,
    limit: int | None,
    document: ClaimOptions | None,
) -> Claimed | None:
    """Claim the oldest free messages.

    :returns: None when nothing was free
    """
    ttl, grace, size = _terms(ctx.limits, document, limit)
    ttl = ctx.lifetime(ttl)

    def take(store: MessageStore, queue: Queue) -> Claimed | None:
        most = dead_letters.max_claims(queue)
        if most and queue.metadata.get('_enable_encrypt_messages'):
            # What cannot be decrypted here is not handed out, and must not
            # count as if it had been.
            page = store.list(queue.qid, now=store.clock.now(), limit=size)
            ctx.cipher.opened(page.messages, scope)

        def attempt(now: int) -> Claim | None:
            claim = store.claim(
                queue.qid,
                now=now,
                claim_id=token_hex(16),
                ttl=ttl,
                grace=grace,
                limit=size,
                max_claims=most,
                version=queue.version,
            )
            if claim is None:
                return None
            return _moved(ctx, store, queue, claim, now)

        return unreadable.claim(ctx, store, queue, size, attempt)

    return ctx.catalogue.run(scope, take, None)


def get(ctx: Context, *, scope: Scope, claim_id: str) -> Claimed:
    """Return a live claim with its messages.

    :raises NotFound: it is dead or holds nothing any more that can be shown
    """

    def read(store: MessageStore, queue: Queue) -> Claimed | None:
        now = store.clock.now()
        claim = store.claimed(queue.qid, claim_id, now=now)
        if claim is None:
            return None
        messages = ctx.cipher.opened(claim.messages, scope)
        if not messages:
            return None
        return Claimed(dataclasses.replace(claim, messages=messages), now)

    found = ctx.catalogue.run(scope, read, None)
    if found is None:
        raise _missing(scope, claim_id)
    return found


def renew(
    ctx: Context,
    *,
    scope: Scope,
    claim_id: str,
    document: ClaimOptions | None,
) -> None:
    """Let a claim live as if it were made now.

    What the document leaves out takes the default, not the former value.

    :raises NotFound: it is dead
    """
    ttl, grace, _ = _terms(ctx.limits, document, None)
    ttl = ctx.lifetime(ttl)

    def extend(store: MessageStore, queue: Queue) -> bool:
        now = store.clock.now()
        return store.renew(queue.qid, claim_id, now=now, ttl=ttl, grace=grace)

    if not ctx.catalogue.run(scope, extend, False):
        raise _missing(scope, claim_id)


def release(ctx: Context, *, scope: Scope, claim_id: str) -> None:
    """Free the messages of a claim at once; absent is fine."""

    def free(store: MessageStore, queue: Queue) -> None:
        store.release(queue.qid, claim_id, now=store.clock.now())

    ctx.catalogue.run(scope, free, None)


def _moved(
    ctx: Context, store: MessageStore, queue: Queue, claim: Claim, now: int
) -> Claim:
    """Move what a new claim has met exhausted; return the claim without it.

    Where this fails nobody learns of the claim, and so nothing may wait for
    its end.
    """
    try:
        return dead_letters.move(ctx, queue, claim, now)
    except StoreUnavailable:
        store.release(queue.qid, claim.id, now=store.clock.now())
        raise


def _terms(
    limits: Limits, document: ClaimOptions | None, limit: int | None
) -> tuple[int, int, int]:
    """Return ttl, grace and number of messages, checked in that order."""
    options = document or ClaimOptions()
    ttl = _or_default(options.ttl, limits.default_claim_ttl)
    grace = _or_default(options.grace, limits.default_claim_grace)
    _check_seconds('TTL', ttl, limits.max_claim_ttl)
    most = limits.max_messages_per_claim_or_pop
    if limit is not None and not 1 <= limit <= most:
        raise InvalidRequest(
            f'Limit must be at least 1 and may not be greater than {most}.'
        )
    _check_seconds('grace', grace, limits.max_claim_grace)
    return ttl, grace, page_size(limit, most)


def _or_default(value: int | msgspec.UnsetType, default: int) -> int:
    return default if value is msgspec.UNSET else value


def _check_seconds(what: str, seconds: int, most: int) -> None:
    if not MIN_TTL <= seconds <= most:
        raise InvalidRequest(
            f'The {what} for a claim may not exceed {most} seconds, and must '
            f'be at least {MIN_TTL} seconds long.'
        )


def _missing(scope: Scope, claim_id: str) -> NotFound:
    return NotFound(
        f'Claim {claim_id} does not exist in {scope.kind} {scope.name} '
        f'for project {scope.project}'
    )
