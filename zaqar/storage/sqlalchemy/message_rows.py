# SPDX-License-Identifier: Apache-2.0
"""Rows of messages: their columns, states, and conversion."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from zaqar.objects import Message, NewMessage
from zaqar.storage import rejection_reason_encoding
from zaqar.storage.message_ids import make_marker
from zaqar.storage.sqlalchemy.statement_execution import Row

FREE, CLAIMED, DELAYED = 0, 1, 2

#: Behind another one in a group; see
#: :mod:`zaqar.storage.sqlalchemy.next_free_messages_of_groups`.
IN_GROUP = 3

#: Bit of ``claim_count``: the message was exhausted when it was claimed.
EXHAUSTED = 1 << 30

#: The columns of a message, in the order of its rows. Rows of some queries go
#: on behind them.
_NAMES = (
    'queue_id',
    'seq',
    'rnd',
    'public_id',
    'body',
    'ttl',
    'created_at',
    'client',
    'state',
    'wake_at',
    'claim_id',
    'claim_count',
    'checksum',
    'expires_at',
    'group_key',
    'extras',
    'reason',
)
_PLACES = {name: place for place, name in enumerate(_NAMES)}
COLUMNS = ', '.join(f'm.{name}' for name in _NAMES)

queue_id_of = itemgetter(_PLACES['queue_id'])
seq_of = itemgetter(_PLACES['seq'])
count_of = itemgetter(_PLACES['claim_count'])
hold_of = itemgetter(*map(_PLACES.get, ('state', 'wake_at', 'claim_id')))
group_of = itemgetter(_PLACES['group_key'])
expiry_of = itemgetter(_PLACES['expires_at'])

_STATE = _PLACES['state']
_WAKE_AT = _PLACES['wake_at']
_CLAIM_ID = _PLACES['claim_id']
_CLAIM_COUNT = _PLACES['claim_count']
_EXPIRES_AT = _PLACES['expires_at']
_TTL = _PLACES['ttl']

#: What a row holds behind the columns of the message.
rest_of = itemgetter(slice(len(_NAMES), None))

#: Columns of an INSERT, and its values but for ``queue_id``; see
#: :func:`new_row`.
NEW_COLUMNS = (
    'queue_id, seq, rnd, state, wake_at, expires_at, created_at, ttl, client, '
    'claim_count, checksum, public_id, body, group_key, extras'
)
NEW_VALUES = (
    ':seq, :rnd, :state, :wake_at, :expires_at, :created_at, :ttl, :client, '
    '0, :checksum, :public_id, :body, :group_key, :extras'
)

#: Stands in the place of a claim's id, so that a row does not grow when it is
#: claimed (MariaDB): InnoDB would write most of its page to the log each time.
#: No id has dots.
ROOM_FOR_CLAIM = '.' * 32


def is_free(row: Row, now: int) -> bool:
    """Tell whether the message of a row can be claimed without its group."""
    state, wake_at, _ = hold_of(row)
    is_at_rest = state == FREE or 0 < wake_at <= now
    return is_at_rest and group_of(row) is None


def message(row: Sequence[Any], now: int) -> Message:
    """Build a message from a row of :data:`COLUMNS`."""
    (
        _,
        seq,
        rnd,
        public_id,
        body,
        ttl,
        created_at,
        client,
        state,
        wake_at,
        claim_id,
        claim_count,
        checksum,
        expires_at,
        group,
        extras,
        reason,
        *_,
    ) = row
    is_held = state != FREE and wake_at > now
    is_claimed = is_held and state == CLAIMED
    visible_at = wake_at if is_held and state == DELAYED else None
    if state == IN_GROUP and -wake_at > now:
        visible_at = -wake_at
    marker = make_marker(seq)
    return Message(
        id=public_id or marker + rnd,
        body=body,
        ttl=ttl,
        created_at=created_at,
        client=client.decode() if isinstance(client, bytes) else client,
        claim_id=claim_id if is_claimed else None,
        claim_count=claim_count & (EXHAUSTED - 1),
        checksum=checksum,
        expires_at=expires_at,
        marker=marker,
        visible_at=visible_at,
        group=group,
        extras=extras,
        reason=None
        if reason is None
        else rejection_reason_encoding.decode(reason),
        claim_ends_at=wake_at if is_claimed else None,
    )


def claimed(
    row: Row, claim_id: str, values: Mapping[str, Any], more: int
) -> Message:
    """Build a message as a claim has updated its row.

    :param values: lifetimes; see :func:`.claim_request.lifetime_values`
    :param more: how often it was handed out
    """
    end = values['end']
    updated = [*row]
    updated[_STATE] = CLAIMED
    updated[_WAKE_AT] = end
    updated[_CLAIM_ID] = claim_id
    updated[_CLAIM_COUNT] += more
    if updated[_EXPIRES_AT] < end:
        updated[_TTL] = values['raised']
        updated[_EXPIRES_AT] = values['raised_end']
    return message(updated, values['now'])


def first_state(message: NewMessage, now: int) -> tuple[int, int]:
    """Return state and ``wake_at`` of a new message."""
    wake_at = now + message.delay * 1000 if message.delay else 0
    if message.group is not None:
        return IN_GROUP, -wake_at
    return DELAYED if wake_at else FREE, wake_at


def new_row(seq: int, message: NewMessage, now: int) -> dict[str, Any]:
    """Return the parameters of an INSERT, except the queue."""
    state, wake_at = first_state(message, now)
    return {
        'seq': seq,
        'rnd': message.rnd,
        'state': state,
        'wake_at': wake_at,
        'expires_at': now + message.ttl * 1000,
        'created_at': now,
        'ttl': message.ttl,
        'client': message.client,
        'checksum': message.checksum,
        'public_id': message.id,
        'body': message.body,
        'group_key': message.group,
        'extras': message.extras,
    }
