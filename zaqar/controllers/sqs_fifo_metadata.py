# SPDX-License-Identifier: Apache-2.0
"""The metadata key ``sqs_fifo``: messages have a group and a ``dedup_id``.

Clients of Amazon SQS create queues with it. It holds for all posts from 2.1
on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import structs

from zaqar.controllers import message_extras_codec, struct_conversion_fault
from zaqar.controllers.body_as_text import text_of
from zaqar.errors import InvalidRequest
from zaqar.objects import NewMessage

METADATA = 'sqs_fifo'


class Fifo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of the key.

    :ivar content_based: whether a message without a ``dedup_id`` has the
        SHA-256 of its body as one
    :ivar scope: where duplicates are recognized
    :ivar limit: of throughput, which is stored for clients and has no effect
    """

    content_based: bool = False
    scope: Literal['queue', 'messageGroup'] = 'queue'
    limit: Literal['perQueue', 'perMessageGroupId'] = 'perQueue'


def fault(value: Any) -> str | None:
    """Return what is wrong with a value of the key."""
    return struct_conversion_fault.fault(METADATA, value, Fifo)


def ordered(
    messages: Sequence[NewMessage], metadata: Mapping[str, Any]
) -> list[NewMessage]:
    """Return messages with what recognizes their duplicates.

    :raises InvalidRequest: one has no group, or nothing to be recognized by
    """
    try:
        fifo = msgspec.convert(metadata[METADATA], Fifo)
    except msgspec.ValidationError:
        # It was stored below 2.1, where the key is a free one.
        return [*messages]
    return [_ordered(message, fifo) for message in messages]


def _ordered(message: NewMessage, fifo: Fifo) -> NewMessage:
    if message.group is None:
        raise InvalidRequest('A message of a FIFO queue needs a "group".')
    dedup_id = message.dedup_id
    if dedup_id is None:
        if not fifo.content_based:
            raise InvalidRequest(
                'A message of this FIFO queue needs a "dedup_id": the queue '
                'does not recognize duplicates by their content.'
            )
        text = text_of(message.body)
        dedup_id = hashlib.sha256(text.encode(errors='replace')).hexdigest()
    extras = message_extras_codec.read(message.extras)
    shown = structs.replace(extras, dedup_id=dedup_id)
    if fifo.scope == 'messageGroup':
        # Of fixed length, and nothing that a client could send by accident.
        key = f'{message.group} {dedup_id}'
        dedup_id = hashlib.sha256(key.encode()).hexdigest()
    return structs.replace(
        message, dedup_id=dedup_id, extras=message_extras_codec.encode(shown)
    )
