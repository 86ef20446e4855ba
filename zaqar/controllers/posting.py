# SPDX-License-Identifier: Apache-2.0
"""Post messages to queues and topics."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from zaqar.controllers import (
    body_checksum,
    idempotency_key,
    message_delay_parsing,
    message_extras_codec,
    message_group_and_attribute_checks,
    notices_of_posts,
    queue_existence_check,
    rate_limits,
    sqs_fifo_metadata,
)
from zaqar.controllers.api_limits_and_defaults import MIN_TTL, Limits
from zaqar.controllers.approximate_quota_checks import NOTHING, Taken
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_extras_codec import Extras
from zaqar.controllers.reserved_metadata import dedup_window, default_delay
from zaqar.controllers.result_types import Posted
from zaqar.errors import InvalidBody, InvalidRequest, KeyReused, TokenReused
from zaqar.microversion_constants import V2_1
from zaqar.objects import NewMessage, Queue, Scope
from zaqar.random_bytes import token_hex
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.ids_of_repeated_posts import RepeatedIds


class PostedMessage(msgspec.Struct):
    """A message of a post.

    ``delay`` is not decoded, since in 2.0 most queues ignore it, even if
    invalid; nor are members that 2.1 adds.
    """

    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    ttl: int | msgspec.UnsetType = msgspec.UNSET
    delay: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    deliver_at: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    group: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    dedup_id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Post(msgspec.Struct):
    """The document of a post."""

    messages: list[PostedMessage] | msgspec.UnsetType = msgspec.UNSET


class _Draft(msgspec.Struct, frozen=True):
    """Messages, made by the metadata of a queue.

    :ivar clear: as subscribers see them
    :ivar stored: as they are stored
    """

    metadata: Mapping[str, Any]
    clear: Sequence[NewMessage]
    stored: Sequence[NewMessage]


def post(
    ctx: Context,
    *,
    scope: Scope,
    document: Post,
    encrypts: bool = False,
    is_bounded: bool = True,
    extras: bytes | None = None,
    key: str | None = None,
    existing: bool | None = None,
) -> Posted:
    """Append messages, all or none; create the queue if it is missing.

    :param encrypts: even if the queue is not: dead letters of one that is
    :param is_bounded: False for dead letters, which a full queue takes, too,
        and for which there is always room for a queue
    :param extras: stored beside all of them
    :param key: by which a repetition of the post is recognized
    :param existing: refuse a missing queue instead
    :raises NotFound: it has to exist and does not
    :raises KeyReused: it was that of another post
    """

    def make_draft(metadata: Mapping[str, Any]) -> _Draft:
        _check_size(ctx, metadata)
        new = _new_messages(ctx, metadata, document, extras)
        if encrypts or metadata.get('_enable_encrypt_messages'):
            return _Draft(metadata, new, ctx.cipher.encrypted(new, scope))
        return _Draft(metadata, new, new)

    # Before the queue is created: an invalid post changes nothing.
    first = _first_draft(ctx, scope, make_draft)
    taken = NOTHING
    if is_bounded and (ctx.throttle is not None or ctx.usage is not None):
        taken = _count(ctx, scope, first)
    # Posts of one moment touch the same pages of an index.
    token = f'{time.time_ns():016x}{first.stored[0].rnd}'
    call: dict[str, Any] = {'token': token}
    knows_duplicates = ctx.version >= V2_1
    if key is not None:
        call = {
            'token': idempotency_key.token(key),
            'fingerprint': idempotency_key.fingerprint(document),
            'token_lifetime': idempotency_key.LIFETIME,
        }

    notices: list[NewMessage] = []
    made = notices if taken is not NOTHING else None

    def append(store: MessageStore, queue: Queue) -> Sequence[str]:
        draft = first
        if queue.metadata is not draft.metadata and (
            queue.metadata != draft.metadata
        ):
            # It was created or changed by others meanwhile.
            draft = make_draft(queue.metadata)
        _check_groups(store, draft.stored)
        if knows_duplicates:
            call['dedup_window'] = dedup_window(queue.metadata)
        most = most_messages(queue.metadata, ctx.limits) if is_bounded else 0
        return store.post(
            queue.qid,
            draft.stored,
            now=store.clock.now(),
            limit=most,
            notice=notices_of_posts.of_post(ctx, queue, draft.clear, made),
            version=queue.version,
            **call,
        )

    is_stored = False
    try:
        if existing:
            ids = queue_existence_check.run(ctx, scope, append)
        else:
            ids = ctx.catalogue.run_ensured(
                scope,
                append,
                lambda store: _check_groups(store, first.stored),
                needs_room=is_bounded,
            )
        is_replayed = key is not None and isinstance(ids, RepeatedIds)
        is_stored = not is_replayed
    except TokenReused:
        raise KeyReused from None
    finally:
        if ctx.usage is not None:
            stored, delivered, counted = taken
            gets = delivered if is_stored and notices else 0
            if gets != counted or not is_stored:
                ctx.usage.settle(
                    scope.project,
                    0 if is_stored else -stored,
                    gets - counted,
                )
    return Posted(ids, is_replayed)


def _count(ctx: Context, scope: Scope, draft: _Draft) -> Taken:
    """Count a post for the rates and quotas of its project.

    :returns: what it takes of quotas
    :raises RateExceeded: the project posts too much
    :raises QuotaExceeded: it has too much
    """
    project, now = scope.project, time.monotonic()
    # For every post: hence few calls.
    count = size = 0
    for item in draft.stored:
        count += 1
        size += len(item.body)
    if ctx.throttle is not None:
        amounts = (
            (rate_limits.MESSAGES, count),
            (rate_limits.MESSAGE_BYTES, ctx.size),
        )
        lack = ctx.throttle.take(project, amounts, now)
        if lack is not None:
            raise ctx.throttle.exceeded(project, lack)
    if ctx.usage is None:
        return NOTHING
    clear = size
    if draft.clear is not draft.stored:
        clear = sum(len(item.body) for item in draft.clear)
    # Nothing is delivered where there turn out to be no subscribers, though
    # the store may not know that and have a notice made.
    is_delivered = functools.partial(notices_of_posts.are_sent, ctx, scope)
    return ctx.usage.take(project, size, clear, now, is_delivered)


def _check_groups(store: MessageStore, messages: Sequence[NewMessage]) -> None:
    """Refuse messages with groups where claims would not obey them."""
    for item in messages:
        if item.group and not store.has_groups:
            raise InvalidRequest(
                'The store of the queue does not support "group".'
            )


def _first_draft(
    ctx: Context,
    scope: Scope,
    make_draft: Callable[[Mapping[str, Any]], _Draft],
) -> _Draft:
    cached = ctx.catalogue.find(scope)
    try:
        return make_draft(cached.metadata if cached else {})
    except InvalidRequest:
        # The cached queue may be out of date.
        queue = ctx.catalogue.read(scope)
        if queue == cached:
            raise
        return make_draft(queue.metadata if queue else {})


def _check_size(ctx: Context, metadata: Mapping[str, Any]) -> None:
    own = metadata.get('_max_messages_post_size')
    general = ctx.limits.max_messages_post_size
    if own and ctx.size > own:
        most = min(own, general)
        raise InvalidRequest(
            'Message collection size is too large. The max size for current '
            f'queue is {most}. It is calculated by max size = '
            f'min(max_messages_post_size_config: {general}, '
            f'max_messages_post_size_queue: {own}).'
        )


def _new_messages(
    ctx: Context,
    metadata: Mapping[str, Any],
    document: Post,
    extras: bytes | None,
) -> list[NewMessage]:
    if document.messages is msgspec.UNSET:
        raise InvalidRequest('No messages were found in the request body.')
    if not document.messages:
        raise InvalidRequest('No messages to enqueu.')
    limits = ctx.limits
    ttl = metadata.get('_default_message_ttl') or limits.default_message_ttl
    delay = default_delay(metadata, limits)
    messages = [
        _new_message(item, ttl, delay, extras, ctx)
        for item in document.messages
    ]
    if sqs_fifo_metadata.METADATA in metadata and ctx.version >= V2_1:
        return sqs_fifo_metadata.ordered(messages, metadata)
    return messages


def _new_message(
    item: PostedMessage,
    ttl: int,
    delay: int,
    extras: bytes | None,
    ctx: Context,
) -> NewMessage:
    if item.body is msgspec.UNSET:
        raise InvalidBody('Missing "body" field.')
    body = bytes(item.body)
    limits = ctx.limits
    ttl = _ttl(ttl if item.ttl is msgspec.UNSET else item.ttl, ctx)
    group = dedup_id = None
    if item.group is not msgspec.UNSET:
        group = message_group_and_attribute_checks.group(
            item.group, item.delay, item.deliver_at
        )
    if item.dedup_id is not msgspec.UNSET:
        dedup_id = message_group_and_attribute_checks.text(
            'dedup_id', item.dedup_id
        )
    if item.attributes is not msgspec.UNSET:
        attributes = message_group_and_attribute_checks.attributes(
            item.attributes
        )
        extras = message_extras_codec.encode(Extras(attributes=attributes))
    return NewMessage(
        body=body,
        ttl=ttl,
        rnd=token_hex(8),
        client=ctx.identity.client,
        delay=_delay(item, delay, ttl, ctx),
        checksum=body_checksum.of(body) if limits.enable_checksum else None,
        group=group,
        dedup_id=dedup_id,
        extras=extras,
    )


def _ttl(ttl: int, ctx: Context) -> int:
    least, most = MIN_TTL, ctx.limits.max_message_ttl
    if ctx.version >= V2_1:
        least = 1
    if least <= ttl <= most:
        return ttl
    raise InvalidRequest(
        f'The TTL for a message may not exceed {most} seconds, and must be at '
        f'least {least} seconds long.'
    )


def _delay(item: PostedMessage, default: int, ttl: int, ctx: Context) -> int:
    """Return the delay of a message.

    :param default: that of its queue; without one, 2.0 knows no delay
    """
    limits = ctx.limits
    if ctx.version >= V2_1:
        clock = ctx.catalogue.management.clock
        return message_delay_parsing.delay(
            item.delay, item.deliver_at, default, ttl, limits, clock
        )
    if not default or item.delay is msgspec.UNSET:
        return default
    return message_delay_parsing.seconds(item.delay, limits.max_message_delay)


def most_messages(metadata: Mapping[str, Any], limits: Limits) -> int:
    """Return how many live messages a queue may hold; 0 for any number."""
    own: int = metadata.get('_max_messages') or 0
    general = limits.max_messages_per_queue
    return min(own, general) if own and general else own or general
