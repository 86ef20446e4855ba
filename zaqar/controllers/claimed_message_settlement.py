# SPDX-License-Identifier: Apache-2.0
"""Settlement of messages of a claim: delete, release, extend, reject them."""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import msgspec

from zaqar.controllers import claims, dead_letters, message_moves
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.json_integer_check import is_int
from zaqar.errors import InvalidBody, InvalidRequest
from zaqar.objects import Act, Message, Queue, Scope, Settlement
from zaqar.storage.abstract_stores import MessageStore

#: Entries of one request.
MOST_ENTRIES = 100

#: Characters of a reason.
MOST_REASON = 1024

#: Seconds for which messages must still be held that are to be moved.
MOVE = 10

NOT_HELD = 'not_held'

_KINDS = ('delete', 'release', 'extend', 'reject')


class Entry(msgspec.Struct, frozen=True):
    """What is to become of a message.

    :ivar status: what the answer says if the claim holds it
    """

    settlement: Settlement
    status: str

    @property
    def is_rejected(self) -> bool:
        return self.status == 'rejected'


def settle(
    ctx: Context,
    *,
    scope: Scope,
    claim_id: str,
    document: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Settle messages, each by itself; return what has become of them.

    :raises InvalidRequest: an entry is wrong, or is to be rejected from a
        queue without a dead-letter queue; nothing has changed
    :raises NotFound: the claim is dead
    """
    entries = _entries(ctx, document)
    counts = _claim_counts(document, entries)
    rejects = bool(document.get('reject'))
    if rejects:
        # Of a cached one the dead-letter queue may be that of before.
        ctx.catalogue.read(scope)

    def work(store: MessageStore, queue: Queue) -> Sequence[bool] | None:
        now = store.clock.now()
        later = _claimed_again(store, queue, counts, now)
        settled = entries
        if later:
            settled = [
                entry
                for entry in entries
                if entry.settlement.message_id not in later
            ]
        if rejects:
            _move(ctx, store, queue, claim_id, settled, now)
        if not settled:
            return [False] * len(entries)
        results = store.settle(
            queue.qid,
            claim_id,
            [entry.settlement for entry in settled],
            now=now,
        )
        if results is None or not later:
            return results
        held = dict(zip(settled, results, strict=True))
        return [held.get(entry, False) for entry in entries]

    results = ctx.catalogue.run(scope, work, None)
    if results is None:
        raise claims.missing(scope, claim_id)
    return {
        'results': [
            {
                'id': entry.settlement.message_id,
                'status': entry.status if was_held else NOT_HELD,
            }
            for entry, was_held in zip(entries, results, strict=True)
        ]
    }


def _claimed_again(
    store: MessageStore, queue: Queue, counts: Mapping[str, int], now: int
) -> Set[str]:
    """Return the ids of messages that were handed out since.

    :param counts: how often they had been, by id
    """
    if not counts:
        return frozenset()
    return {
        message.id
        for message in store.get(queue.qid, [*counts], now=now)
        if message.claim_count != counts[message.id]
    }


def _move(
    ctx: Context,
    store: MessageStore,
    queue: Queue,
    claim_id: str,
    entries: Sequence[Entry],
    now: int,
) -> None:
    """Post dead letters of rejected messages, while the claim holds these.

    They are deleted with what else is settled; see :mod:`.dead_letters`.
    """
    target = dead_letters.target(queue)
    if target is None:
        raise InvalidRequest(
            'Messages cannot be rejected: the queue has no '
            '"_dead_letter_queue".'
        )
    reasons = {
        entry.settlement.message_id: entry.settlement.reason
        for entry in entries
        if entry.is_rejected
    }
    letters = [
        (
            message,
            message_moves.to_dead_letters(
                ctx,
                queue,
                message,
                reasons[message.id] or message.reason or 'rejected',
                now,
            ),
        )
        for message in _held(store, queue, claim_id, [*reasons], now)
    ]
    for message, letter in letters:
        dead_letters.post(ctx, target, queue, message, letter)


def _held(
    store: MessageStore,
    queue: Queue,
    claim_id: str,
    ids: Sequence[str],
    now: int,
) -> Sequence[Message]:
    """Return those of some messages that a claim holds for a while."""
    messages = [
        message
        for message in store.get(queue.qid, ids, now=now)
        if message.claim_id == claim_id
    ]
    short = [
        message.id
        for message in messages
        if (message.claim_ends_at or 0) < now + MOVE * 1000
    ]
    if short:
        store.settle(
            queue.qid,
            claim_id,
            [Settlement(name, Act.EXTEND, MOVE) for name in short],
            now=now,
        )
    return messages


def _entries(ctx: Context, document: Mapping[str, Any]) -> Sequence[Entry]:
    """Return the entries of a request, checked.

    :raises InvalidRequest: one is wrong, or there are too many or none
    """
    lists = {kind: document.get(kind, []) for kind in _KINDS}
    for kind, items in lists.items():
        if not isinstance(items, list):
            raise InvalidBody(f'"{kind}" must be a list.')
    if not 1 <= sum(map(len, lists.values())) <= MOST_ENTRIES:
        raise InvalidRequest(
            f'At least one message must be settled, and at most '
            f'{MOST_ENTRIES}.'
        )
    entries = [
        _PARSERS[kind](ctx, item) for kind in _KINDS for item in lists[kind]
    ]
    ids = [entry.settlement.message_id for entry in entries]
    if len(set(ids)) < len(ids):
        raise InvalidRequest('A message may be settled only once.')
    return entries


def _claim_counts(
    document: Mapping[str, Any], entries: Sequence[Entry]
) -> Mapping[str, int]:
    """Return the counts that messages of entries must have, by their ids.

    :raises InvalidBody: they are malformed, or of other messages
    """
    counts = document.get('claim_counts', {})
    if counts == {}:
        return {}
    ids = {entry.settlement.message_id for entry in entries}
    if (
        not isinstance(counts, dict)
        or counts.keys() - ids
        or not all(is_int(count) and count >= 0 for count in counts.values())
    ):
        raise InvalidBody(
            '"claim_counts" must be an object whose names are ids of messages '
            'to be settled, and whose values are integers of at least 0.'
        )
    return counts


def _deleted(ctx: Context, item: Any) -> Entry:
    if not isinstance(item, str):
        raise InvalidBody('An entry of "delete" must be the id of a message.')
    return Entry(Settlement(item, Act.DELETE), 'deleted')


def _released(ctx: Context, item: Any) -> Entry:
    name = _id(item, 'release')
    failed = item.get('failed', True)
    if not isinstance(failed, bool):
        raise InvalidBody('"failed" must be true or false.')
    delay = _seconds(ctx, item.get('delay', 0), 'delay')
    settlement = Settlement(name, Act.RELEASE, delay, failed, _reason(item))
    return Entry(settlement, 'released')


def _extended(ctx: Context, item: Any) -> Entry:
    name = _id(item, 'extend')
    ttl = _seconds(ctx, item.get('ttl'), 'ttl')
    if not ttl:
        return Entry(Settlement(name, Act.RELEASE), 'released')
    return Entry(Settlement(name, Act.EXTEND, ctx.lifetime(ttl)), 'extended')


def _rejected(ctx: Context, item: Any) -> Entry:
    name = _id(item, 'reject')
    settlement = Settlement(name, Act.DELETE, reason=_reason(item))
    return Entry(settlement, 'rejected')


_PARSERS: Mapping[str, Callable[[Context, Any], Entry]] = {
    'delete': _deleted,
    'release': _released,
    'extend': _extended,
    'reject': _rejected,
}


def _id(item: Any, kind: str) -> str:
    if not isinstance(item, dict) or not isinstance(item.get('id'), str):
        raise InvalidBody(
            f'An entry of "{kind}" must be an object with the "id" of a '
            'message.'
        )
    return str(item['id'])


def _seconds(ctx: Context, value: Any, name: str) -> int:
    most = ctx.limits.max_claim_ttl
    if not is_int(value):
        raise InvalidBody(f'"{name}" must be an integer.')
    if not 0 <= value <= most:
        raise InvalidRequest(
            f'"{name}" may not exceed {most} seconds, and must be at least 0.'
        )
    return int(value)


def _reason(item: Mapping[str, Any]) -> str | None:
    reason = item.get('reason')
    if reason is not None and not isinstance(reason, str):
        raise InvalidBody('"reason" must be a text.')
    if reason is not None and len(reason) > MOST_REASON:
        raise InvalidRequest(
            f'"reason" may not exceed {MOST_REASON} characters.'
        )
    return reason
