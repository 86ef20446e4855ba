# SPDX-License-Identifier: Apache-2.0
"""Create, read, renew and release claims.

A claim has no owner: whoever knows its id can use it.
"""

import re
from typing import Any

import msgspec

from zaqar import request_deadline
from zaqar.controllers import (
    claims_skipping_undecryptable_messages,
    dead_letters,
    queue_existence_check,
    reserved_metadata,
)
from zaqar.controllers.api_limits_and_defaults import MIN_TTL, page_size
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.result_types import Claimed
from zaqar.errors import (
    InvalidBody,
    InvalidRequest,
    NotFound,
    StoreUnavailable,
)
from zaqar.microversion_constants import V2_1
from zaqar.objects import Claim, Queue, Scope
from zaqar.random_bytes import token_hex
from zaqar.storage.abstract_stores import MessageStore

_ID = re.compile(r'[A-Za-z0-9_-]{1,64}')


class ClaimOptions(msgspec.Struct):
    """The document of a claim: seconds, and an id that the client chose."""

    ttl: int | msgspec.UnsetType = msgspec.UNSET
    grace: int | msgspec.UnsetType = msgspec.UNSET
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def create(
    ctx: Context,
    *,
    scope: Scope,
    limit: int | None,
    document: ClaimOptions | None,
    existing: bool | None = None,
) -> Claimed | None:
    """Claim the oldest free messages; return None if there are none.

    With an id in the document, a repeated call returns the messages of the
    first one as long as the claim lives.

    :param existing: refuse a queue that does not exist
    :raises NotFound: it has to exist and does not
    """
    ttl, grace, size = terms(ctx, document, limit)
    chosen = ''
    if document is not None and document.id is not msgspec.UNSET:
        chosen = _checked_id(document.id)

    def take(store: MessageStore, queue: Queue) -> Claimed | None:
        seconds = _lifetime(ctx, queue, document, ttl)
        most = dead_letters.max_claims(queue)
        if most and queue.metadata.get('_enable_encrypt_messages'):
            # Messages that cannot be decrypted here are not delivered, and a
            # claim must not be counted for them.
            page = store.list(queue.qid, now=store.clock.now(), limit=size)
            ctx.cipher.decrypted(page.messages, scope)

        def attempt(now: int) -> Claim | None:
            nonlocal chosen
            # Those of one moment touch the same pages of an index.
            new_id = f'{now:012x}{token_hex(10)}'
            claim_id, chosen = chosen or new_id, ''
            claim = store.claim(
                queue.qid,
                now=now,
                claim_id=claim_id,
                ttl=seconds,
                grace=grace,
                limit=size,
                max_claims=most,
                version=queue.version,
            )
            if claim is None:
                return None
            return _without_exhausted(ctx, store, queue, claim, now)

        return claims_skipping_undecryptable_messages.claim_readable(
            ctx, store, queue, size, attempt
        )

    if existing:
        return queue_existence_check.run(ctx, scope, take)
    return ctx.catalogue.run(scope, take, None)


def get(ctx: Context, *, scope: Scope, claim_id: str) -> Claimed:
    """Return a live claim with its messages.

    :raises NotFound: it is dead or has no readable message left
    """

    def read(store: MessageStore, queue: Queue) -> Claimed | None:
        now = store.clock.now()
        claim = store.claimed(queue.qid, claim_id, now=now)
        if claim is None:
            return None
        messages = ctx.cipher.decrypted(claim.messages, scope)
        if not messages:
            return None
        return Claimed(claim.with_messages(messages), now)

    claimed = ctx.catalogue.run(scope, read, None)
    if claimed is None:
        raise missing(scope, claim_id)
    return claimed


def renew(
    ctx: Context, *, scope: Scope, claim_id: str, document: ClaimOptions | None
) -> None:
    """Let a claim live as if it were created now.

    Members that the document omits take the default, not the former value.

    :raises NotFound: it is dead
    """
    ttl, grace, _ = terms(ctx, document, None)

    def extend(store: MessageStore, queue: Queue) -> bool:
        seconds = _lifetime(ctx, queue, document, ttl)
        now = store.clock.now()
        return store.renew(
            queue.qid, claim_id, now=now, ttl=seconds, grace=grace
        )

    if not ctx.catalogue.run(scope, extend, False):
        raise missing(scope, claim_id)


def release(ctx: Context, *, scope: Scope, claim_id: str) -> None:
    """Free the messages of a claim at once; a missing claim is fine."""

    def free(store: MessageStore, queue: Queue) -> None:
        store.release(queue.qid, claim_id, now=store.clock.now())

    ctx.catalogue.run(scope, free, None)


def _without_exhausted(
    ctx: Context, store: MessageStore, queue: Queue, claim: Claim, now: int
) -> Claim:
    """Move exhausted messages of a new claim to the dead-letter queue.

    If that fails, no client learns the id of the claim: it is released.

    :returns: the claim without them
    """
    try:
        return dead_letters.move(ctx, queue, claim, now)
    except StoreUnavailable:
        with request_deadline.undoing():
            store.release(queue.qid, claim.id, now=store.clock.now())
        raise


def default_wait(
    ctx: Context,
    *,
    scope: Scope,
    limit: int | None,
    document: ClaimOptions | None,
    existing: bool | None = None,
) -> int:
    """Return how many seconds a claim waits that does not say it.

    :raises InvalidRequest: the claim is none that :func:`create` makes
    """
    terms(ctx, document, limit)
    queue = ctx.catalogue.find(scope)
    metadata = queue.metadata if queue else {}
    return reserved_metadata.default_wait(metadata, ctx.limits)


def _lifetime(
    ctx: Context, queue: Queue, document: ClaimOptions | None, ttl: int
) -> int:
    """Return the ttl of a claim of a queue.

    :param ttl: that of the document, or the default of the service
    """
    is_default = document is None or document.ttl is msgspec.UNSET
    if is_default and ctx.version >= V2_1:
        metadata = queue.metadata
        ttl = reserved_metadata.default_claim_ttl(metadata, ctx.limits) or ttl
    return ctx.lifetime(ttl)


def _checked_id(raw: msgspec.Raw) -> str:
    """Return the id that a claim is to have.

    :raises InvalidBody: it can be none
    """
    name: Any = msgspec.json.decode(raw)
    if isinstance(name, str) and _ID.fullmatch(name):
        return name
    raise InvalidBody(
        'The value of the "id" field must be a text of 1 to 64 letters, '
        'digits, hyphens and underscores.'
    )


def terms(
    ctx: Context, document: ClaimOptions | None, limit: int | None
) -> tuple[int, int, int]:
    """Return ttl, grace and number of messages, checked in that order.

    :raises InvalidRequest: one is out of bounds
    """
    limits = ctx.limits
    # Until 2.1 both had the same minimum.
    least = (1, 0) if ctx.version >= V2_1 else (MIN_TTL, MIN_TTL)
    options = document or ClaimOptions()
    ttl, grace = limits.default_claim_ttl, limits.default_claim_grace
    if options.ttl is not msgspec.UNSET:
        ttl = options.ttl
    if options.grace is not msgspec.UNSET:
        grace = options.grace
    _check_seconds('TTL', ttl, least[0], limits.max_claim_ttl)
    size = page_size(limit, limits.max_messages_per_claim_or_pop)
    _check_seconds('grace', grace, least[1], limits.max_claim_grace)
    return ttl, grace, size


def _check_seconds(what: str, seconds: int, least: int, most: int) -> None:
    if not least <= seconds <= most:
        raise InvalidRequest(
            f'The {what} for a claim may not exceed {most} seconds, and must '
            f'be at least {least} seconds long.'
        )


def missing(scope: Scope, claim_id: str) -> NotFound:
    """Return the error for a claim that does not live."""
    return NotFound(
        f'Claim {claim_id} does not exist in {scope.kind} {scope.name} '
        f'for project {scope.project}'
    )
