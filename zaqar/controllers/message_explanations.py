# SPDX-License-Identifier: Apache-2.0
"""Why a message is handed out, listed, or neither."""

import enum
from collections.abc import Iterator, Sequence

import msgspec

from zaqar.controllers import dead_letters
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import DecryptionFailed, KeyMissing
from zaqar.objects import Message, Queue, Scope
from zaqar.rfc3339_formatting import timestamp
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_inspection_interface import Inspected


class State(enum.StrEnum):
    """The state of a message."""

    FREE = 'free'
    CLAIMED = 'claimed'
    DELAYED = 'delayed'
    HELD_BY_GROUP = 'held_by_group'
    ABSENT = 'absent'


class Explanation(msgspec.Struct, frozen=True):
    """The state of a message, and what follows from it.

    :ivar listed: by a list with default parameters of the asking client
    :ivar claimable: the next claims or pops can take it
    :ivar because: a sentence for each reason
    :ivar message: None if it is absent
    """

    state: State
    listed: bool
    claimable: bool
    because: Sequence[str]
    message: Message | None = None


_ABSENT = Explanation(
    State.ABSENT,
    listed=False,
    claimable=False,
    because=[
        'The queue has no live message with this id: it was deleted, popped '
        'or moved to a dead-letter queue, or has expired, or never existed.'
    ],
)

_FREE = 'Claims and pops can take it, after the free messages before it.'
_LACKS_BODY = (
    'Its body is missing in the object store; lists, claims and pops omit it.'
)
_LACKS_KEY = (
    'Its body is encrypted with a key that this service does not have; '
    'lists, claims and pops omit it.'
)
_DAMAGED = (
    'Its body failed authenticated decryption; lists, claims and pops omit it.'
)
_OWN = 'The asking client has posted it; lists without "echo" omit it.'


def explain(ctx: Context, *, scope: Scope, message_id: str) -> Explanation:
    """Say why a message is handed out and listed, or is not."""

    def look(store: MessageStore, queue: Queue) -> Explanation:
        now = store.clock.now()
        inspected = store.inspect(queue.qid, message_id, now=now)
        if inspected is None:
            return _ABSENT
        return _explanation(ctx, queue, inspected)

    return ctx.catalogue.run(scope, look, _ABSENT)


def _explanation(
    ctx: Context, queue: Queue, inspected: Inspected
) -> Explanation:
    message = inspected.message
    state = _state(inspected)
    unreadable = _why_unreadable(ctx, queue.scope, inspected)
    exhausted = _why_exhausted(queue, message)
    is_own = message.client == ctx.identity.client
    is_shown = state in (State.FREE, State.HELD_BY_GROUP)
    is_claimable = state is State.FREE and not unreadable and not exhausted
    reasons = [
        *_reasons(state, inspected),
        unreadable,
        exhausted,
        _OWN if is_own else '',
        _FREE if is_claimable else '',
    ]
    return Explanation(
        state,
        is_shown and not is_own and not unreadable,
        is_claimable,
        [reason for reason in reasons if reason],
        message,
    )


def _state(inspected: Inspected) -> State:
    message = inspected.message
    if message.claim_id is not None:
        return State.CLAIMED
    if message.visible_at is not None:
        return State.DELAYED
    if inspected.group_busy_until is not None:
        return State.HELD_BY_GROUP
    return State.FREE


def _reasons(state: State, inspected: Inspected) -> Iterator[str]:
    message = inspected.message
    if state is State.CLAIMED:
        yield (
            f'Claim {message.claim_id} holds it until '
            f'{_time(message.claim_ends_at)}, unless that is renewed or '
            'released; lists without "include_claimed" omit it.'
        )
    elif state is State.DELAYED:
        yield (
            f'Its delay ends at {_time(message.visible_at)}; lists without '
            '"include_delayed" omit it until then.'
        )
    elif state is State.HELD_BY_GROUP:
        yield (
            'A message of its group is claimed, or waits after a release, '
            f'until {_time(inspected.group_busy_until)}; until then claims '
            'and pops take none of the group.'
        )


def _why_unreadable(ctx: Context, scope: Scope, inspected: Inspected) -> str:
    if inspected.lacks_body:
        return _LACKS_BODY
    message = inspected.message
    try:
        ctx.cipher.opened(message, scope)
    except KeyMissing:
        return _LACKS_KEY
    except DecryptionFailed:
        return _DAMAGED
    return ''


def _why_exhausted(queue: Queue, message: Message) -> str:
    most = dead_letters.max_claims(queue)
    if not most or message.claim_count < most:
        return ''
    return (
        f'Its claim_count is {message.claim_count}, and _max_claim_count is '
        f'{most}: the next claim that meets it moves it to queue '
        f'{queue.metadata["_dead_letter_queue"]}.'
    )


def _time(moment: int | None) -> str:
    return timestamp(moment or 0)
