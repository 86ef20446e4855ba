# SPDX-License-Identifier: Apache-2.0
"""Messages: list, read and delete them; checks of what pops several."""

from collections.abc import Callable, Sequence
from typing import Any

from zaqar.controllers import popping, queue_existence_check
from zaqar.controllers.api_limits_and_defaults import Limits, page_size
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.reserved_metadata import default_delay
from zaqar.controllers.result_types import MessagePage, OneMessage, Popped
from zaqar.errors import (
    InvalidDeletion,
    InvalidRequest,
    KeyMissing,
    NotFound,
)
from zaqar.microversion_constants import V2_1
from zaqar.objects import Message, Page, Queue, Scope
from zaqar.storage.abstract_stores import SCAN_LIMIT, MessageStore

#: Entries looked at, at most, to fill one page.
MOST_SCANNED = 10_000

#: Messages read at a time after some that cannot be decrypted.
MOST_HIDDEN = 100


def list_(
    ctx: Context,
    *,
    scope: Scope,
    marker: str | None,
    limit: int | None,
    echo: bool | None,
    include_claimed: bool | None,
    include_delayed: bool | None,
    ids: Sequence[str] | None,
) -> MessagePage:
    """List messages, oldest first, or return those of ``ids``.

    :param echo: whether to show those posted by the caller's own client
    :param include_claimed: whether to show those under a live claim
    :param include_delayed: whether to show those whose delay has not
        passed; below 2.1 always so on queues without a default delay
    :raises NotFound: ``ids`` are given and none of them exists
    """
    if ids is not None:
        return _named(ctx, scope, ids)
    size = page_size(limit, ctx.limits.max_messages_per_page)

    def read(store: MessageStore, queue: Queue) -> MessagePage:
        now = store.clock.now()
        hides_delayed = ctx.version >= V2_1 or bool(
            default_delay(queue.metadata, ctx.limits)
        )
        page = _full_page(
            store,
            queue.qid,
            size,
            lambda messages: ctx.cipher.decrypt_readable(messages, scope),
            now=now,
            marker=marker,
            exclude_client=None if echo else ctx.identity.client,
            include_claimed=bool(include_claimed),
            include_delayed=bool(include_delayed) or not hides_delayed,
        )
        again = {
            'marker': None,
            'limit': limit,
            'echo': echo,
            'include_claimed': include_claimed,
            'include_delayed': include_delayed,
        }
        return MessagePage(page.messages, now, again, page.resume)

    return ctx.catalogue.run(scope, read, MessagePage((), 0, {}))


def get_many(
    ctx: Context, *, scope: Scope, ids: Sequence[str] | None
) -> MessagePage:
    """Return the readable messages among ids, in queue order, each once."""
    page_size(len(ids or ()), ctx.limits.max_messages_per_page)

    def read(store: MessageStore, queue: Queue) -> MessagePage:
        now = store.clock.now()
        messages = store.get(queue.qid, ids or (), now=now)
        return MessagePage(ctx.cipher.decrypted(messages, scope), now)

    return ctx.catalogue.run(scope, read, MessagePage((), 0))


def _named(ctx: Context, scope: Scope, ids: Sequence[str]) -> MessagePage:
    page = get_many(ctx, scope=scope, ids=ids)
    if not page.messages:
        raise NotFound(
            f'No messages with IDs: {list(ids)} found in the {scope.kind} '
            f'{scope.name} for project {scope.project}.'
        )
    return page


def get(ctx: Context, *, scope: Scope, message_id: str) -> OneMessage:
    """Return one message.

    :raises NotFound: it does not exist in this queue
    :raises DecryptionFailed: its stored body was changed
    """

    def read(store: MessageStore, queue: Queue) -> OneMessage | None:
        now = store.clock.now()
        for message in store.get(queue.qid, [message_id], now=now):
            return OneMessage(ctx.cipher.opened(message, scope), now)
        return None

    answer = ctx.catalogue.run(scope, read, None)
    if answer is None:
        raise NotFound(
            f'Message {message_id} does not exist in {scope.kind} '
            f'{scope.name} for project {scope.project}'
        )
    return answer


def delete(
    ctx: Context,
    *,
    scope: Scope,
    message_id: str,
    claim_id: str | None,
    claim_count: int | None = None,
    existing: bool | None = None,
) -> None:
    """Delete one message; a missing one is fine.

    :param claim_id: the live claim that holds it, needed if one does
    :param claim_count: as the claim has returned it: then the message is
        deleted even if the claim is dead, unless it was handed out since, be
        it by a claim with the same id
    :param existing: refuse a queue that does not exist
    :raises MessageClaimed: it is held by another claim
    :raises InvalidDeletion: the claim is dead, or does not hold it, or the
        message was handed out since
    :raises NotFound: the queue has to exist and does not
    """

    def remove(store: MessageStore, queue: Queue) -> None:
        now = store.clock.now()
        holder = claim_id
        if claim_count is not None:
            for message in store.get(queue.qid, [message_id], now=now):
                if message.claim_count != claim_count:
                    raise InvalidDeletion(
                        'The message was claimed again since.'
                    )
                if message.claim_id is None:
                    holder = None
        store.delete(queue.qid, message_id, now=now, claim_id=holder)

    if existing:
        queue_existence_check.run(ctx, scope, remove)
    else:
        ctx.catalogue.run(scope, remove, None)


def delete_many(
    ctx: Context,
    *,
    scope: Scope,
    ids: Sequence[str] | None,
    claim_ids: Sequence[str] | None,
    pop: int | None,
) -> Popped | None:
    """Delete messages by id, or take the oldest free ones.

    :param claim_ids: the claims that hold them, if an operator requires it
    :returns: the popped ones, None after a deletion
    """
    guarded = ctx.limits.message_delete_with_claim_id
    check_deletion(ctx.limits, ids, claim_ids, pop)
    if pop is not None:
        return popping.pop(ctx, scope, pop)

    def remove(store: MessageStore, queue: Queue) -> None:
        store.delete_many(
            queue.qid,
            ids or (),
            now=store.clock.now(),
            claim_ids=claim_ids if guarded else None,
        )

    ctx.catalogue.run(scope, remove, None)
    return None


def _full_page(
    store: MessageStore,
    qid: str,
    size: int,
    readable: Callable[[Sequence[Message]], tuple[Sequence[Message], bool]],
    *,
    marker: str | None,
    **options: Any,
) -> Page:
    """Read until a page is full, the queue ends or enough was scanned.

    The page is empty only at the end of the queue, since clients stop at an
    empty page.

    :param readable: as :meth:`.message_encryption.Cipher.decrypt_readable`
    :raises KeyMissing: all messages, or too many, cannot be decrypted here
    :returns: a page whose ``resume`` is where the next one begins, None
        only for an empty page
    """
    messages: list[Message] = []
    resume: str | None = marker
    scanned = hidden = 0
    lacks_key = False
    while True:
        limit = size - len(messages)
        page = store.list(
            qid,
            # After unreadable ones there may be many more.
            limit=max(limit, MOST_HIDDEN) if hidden else limit,
            marker=resume,
            **options,
        )
        shown, lacks = readable(page.messages)
        lacks_key |= lacks
        hidden += len(page.messages) - len(shown)
        messages += shown[:limit]
        resume = messages[-1].marker if len(shown) > limit else page.resume
        scanned += SCAN_LIMIT
        enough = scanned >= MOST_SCANNED and (messages or hidden)
        if resume is None or len(messages) == size or enough:
            break
    if not messages and (lacks_key or (hidden and resume is not None)):
        raise KeyMissing('Messages could not be decrypted.')
    if resume is None and messages:
        resume = messages[-1].marker
    return Page(messages, resume if messages else None)


def check_deletion(
    limits: Limits,
    ids: Sequence[str] | None,
    claim_ids: Sequence[str] | None,
    pop: int | None,
) -> None:
    """Check the arguments of :func:`delete_many`.

    :raises InvalidRequest: they do not fit together, or are out of bounds
    """
    fault = (
        _choice_fault(ids, pop)
        or _range_fault(limits, ids, pop)
        or _guard_fault(limits, ids, claim_ids)
    )
    if fault is not None:
        raise InvalidRequest(fault)


def _choice_fault(ids: Sequence[str] | None, pop: int | None) -> str | None:
    if ids is not None and pop is not None:
        return (
            'pop and id params cannot be present together in the delete '
            'request.'
        )
    if ids is None and pop is None:
        return (
            'The request should have either "ids" or "pop" parameter in the '
            'request, to be able to delete.'
        )
    return None


def _range_fault(
    limits: Limits, ids: Sequence[str] | None, pop: int | None
) -> str | None:
    most = limits.max_messages_per_page
    if ids is not None and len(ids) > most:
        return (
            'ids parameter should have at least 1 and not greater than '
            f'{most} values.'
        )
    most = limits.max_messages_per_claim_or_pop
    if pop is not None and not 1 <= pop <= most:
        return (
            f'Pop value must be at least 1 and may not be greater than {most}.'
        )
    return None


def _guard_fault(
    limits: Limits, ids: Sequence[str] | None, claim_ids: Sequence[str] | None
) -> str | None:
    if not limits.message_delete_with_claim_id:
        return None
    if (ids is None) == (claim_ids is None):
        return None
    return (
        'The request should have both "ids" and "claim_ids" parameter in the '
        'request when message_delete_with_claim_id is True.'
    )
