# SPDX-License-Identifier: Apache-2.0
"""The documents of messages and queues: fields, indexes, conversion.

A message, in the collection ``message``:

====== ================================================================
_id    key of the queue, public id (16 + 16 bytes): found by its id
k      key, sequence number (16 + 8): its place, for listing
f      as ``k``, only while it is free: the next one to hand out
d      as ``k``, only while it is delayed
w      key, end of the claim or delay (16 + 8), only with one of them
c      key, hash of the claim's id (16 + 16), only when claimed
g      as ``c``, on one message of the claim: no id makes two claims
a      when it is free again, 0 when it is free
z      end of the delay, 0 without one; it stays when that has passed
h      end of the claim, 0 without one
e, t   expiry (a date, for the TTL index), and ttl as shown
m      when it was posted
n, x   count of claims; whether the claim found it exhausted
ci, ct id and ttl of the claim
pl     on the message with ``g``: ids of all that the claim selected
b u s  body, client, checksum
xt     extras; only if it has them
r      the last reason that a worker gave, only then
o      name of its group; it and the following only if it has one
og     ``_id`` of the document of its group
l      the same, sequence number (32 + 8): its place in the group
q      as ``k``, instead of ``f``
y      as ``og``, only while a claim holds it or it waits after a release
====== ================================================================

The *key* of a queue is another one after a purge or a drop, so that its
messages are gone at once. All binary fields that are compared have a fixed
length, since MongoDB puts binary values in order by length first. The sparse
indexes hold a message only in the state they are for, so that claimed ones
do not slow down queries for free ones.

A post leaves a document with its token beside its messages, whose ``_id`` is
text and whose place is behind all messages.

A queue, in the collection ``queue``, by its qid: ``key``, ``next`` number,
``sub`` (epoch of the flag, negative without subscribers), ``live`` (an upper
bound of the number of messages, if a limit was ever set), ``gone`` (when it
was dropped), ``old`` (former keys, whose messages are to be swept), ``grp``
(whether it has ever had groups: 1 if some processes may not know it yet); and
while its bytes are counted (see :mod:`.queue_byte_counts`) ``hk`` (as
``key``), ``hn`` and ``hb`` (messages and bytes), and ``ht`` (when the count
began).

Documents of groups: see :mod:`.message_groups`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pymongo
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS

from zaqar.objects import Message, NewMessage
from zaqar.storage.message_ids import id_of, parse_id

Document = dict[str, Any]

#: Bytes of the key of a queue.
KEY_SIZE = 16

#: Seconds after which the server removes what the sweeper has not.
EXPIRE_AFTER = 3600

#: Fields that are removed when a claim ends.
CLAIM_FIELDS = ('c', 'g', 'ci', 'ct', 'x', 'pl', 'w', 'd', 'y')

MESSAGE_INDEXES: Sequence[pymongo.IndexModel] = (
    pymongo.IndexModel([('k', 1)], name='place'),
    pymongo.IndexModel([('f', 1)], name='free', sparse=True),
    pymongo.IndexModel([('d', 1)], name='delayed', sparse=True),
    pymongo.IndexModel([('w', 1)], name='waking', sparse=True),
    pymongo.IndexModel([('c', 1)], name='claim', sparse=True),
    pymongo.IndexModel([('g', 1)], name='guard', sparse=True, unique=True),
    pymongo.IndexModel([('l', 1)], name='lane', sparse=True),
    pymongo.IndexModel([('q', 1)], name='in_group', sparse=True),
    pymongo.IndexModel([('y', 1)], name='held_in_group', sparse=True),
    pymongo.IndexModel(
        [('e', 1)], name='death', expireAfterSeconds=EXPIRE_AFTER
    ),
)
GROUP_INDEXES: Sequence[pymongo.IndexModel] = (
    pymongo.IndexModel([('f', 1)], name='free', sparse=True),
    pymongo.IndexModel([('w', 1)], name='waking', sparse=True),
    pymongo.IndexModel(
        [('e', 1)], name='death', expireAfterSeconds=EXPIRE_AFTER
    ),
)
QUEUE_INDEXES: Sequence[pymongo.IndexModel] = (
    pymongo.IndexModel([('gone', 1)], name='gone', sparse=True),
    pymongo.IndexModel([('old', 1)], name='old', sparse=True),
    pymongo.IndexModel([('hk', 1)], name='counted', sparse=True),
)
RECORD_INDEXES: Sequence[pymongo.IndexModel] = (
    pymongo.IndexModel([('p', 1), ('name', 1)], name='name'),
)


def date(moment: int) -> DatetimeMS:
    """Return a time in milliseconds as the server stores it."""
    return DatetimeMS(moment)


def number(value: int) -> bytes:
    """Return eight bytes that sort like the numbers."""
    return max(0, value).to_bytes(8, 'big')


def ahead(key: bytes) -> bytes:
    """Return a position behind all messages of a queue."""
    return key + b'\xff' * 8


def places(key: bytes, first: int = 0) -> Document:
    """Return the condition for positions from this one on."""
    return {'$gte': place(key, first), '$lt': ahead(key)}


def claims(key: bytes) -> Document:
    """Return the condition for claimed messages of a queue."""
    return {'$gte': key + b'\0' * 16, '$lte': key + b'\xff' * 16}


def until(key: bytes, moment: int) -> Document:
    """Return the condition for times of the queue up to this one."""
    return {'$gte': place(key, 0), '$lte': place(key, moment)}


def place(key: bytes, seq: int) -> bytes:
    """Return the position of a message, or a time of a queue."""
    return key + number(seq)


def message_id(key: bytes, text: str) -> Binary | None:
    """Return the ``_id`` of a message, None if the text is no id."""
    if parse_id(text) is None:
        return None
    return Binary(key + bytes.fromhex(text))


def claim_key(key: bytes, claim_id: str) -> bytes:
    """Return the value that the messages of a claim are found by."""
    return key + hashlib.blake2b(claim_id.encode(), digest_size=16).digest()


def group_id(key: bytes, name: str) -> Binary:
    """Return the ``_id`` of the document of a group."""
    return Binary(key + hashlib.blake2b(encode(name), digest_size=16).digest())


def token_id(key: bytes, token: str) -> str:
    """Return the ``_id`` of the document of a post."""
    return f'{key.hex()}/{token}'


def new_message(key: bytes, seq: int, item: NewMessage, now: int) -> Document:
    at = place(key, seq)
    document: Document = {
        '_id': Binary(key + bytes.fromhex(id_of(item, seq))),
        'k': at,
        'a': 0,
        'h': 0,
        'z': 0,
        'e': date(now + item.ttl * 1000),
        't': item.ttl,
        'm': now,
        'n': 0,
        'b': item.body,
        # It may hold unpaired surrogates.
        'u': encode(item.client),
    }
    if item.checksum is not None:
        document['s'] = item.checksum
    if item.group is not None:
        group = group_id(key, item.group)
        document |= {'o': item.group, 'og': group, 'l': group + number(seq)}
    if item.extras is not None:
        document['xt'] = item.extras
    if item.delay:
        end = now + item.delay * 1000
        document |= {'a': end, 'z': end, 'd': at, 'w': place(key, end)}
    else:
        document['f' if item.group is None else 'q'] = at
    return document


def message(document: Mapping[str, Any], now: int) -> Message:
    """Build a message, without the library's own types of numbers."""
    extras, reason = document.get('xt'), document.get('r')
    is_claimed = document['h'] > now
    return Message(
        id=bytes(document['_id'])[16:].hex(),
        body=bytes(document['b']),
        ttl=int(document['t']),
        created_at=int(document['m']),
        client=decode(document['u']),
        claim_id=document['ci'] if is_claimed else None,
        claim_count=int(document['n']),
        checksum=document.get('s'),
        expires_at=int(document['e']),
        marker=bytes(document['k'])[16:].hex(),
        visible_at=int(document['z']) if document['z'] > now else None,
        group=document.get('o'),
        extras=bytes(extras) if extras is not None else None,
        reason=decode(reason) if reason is not None else None,
        claim_ends_at=int(document['h']) if is_claimed else None,
    )


def seq_of(document: Mapping[str, Any]) -> int:
    return int.from_bytes(bytes(document['k'])[16:], 'big')


def encode(text: str) -> bytes:
    """Return a text as bytes, whatever it holds."""
    return text.encode('utf-8', 'surrogatepass')


def decode(data: bytes) -> str:
    """Return the text that :func:`encode` encoded."""
    return bytes(data).decode('utf-8', 'surrogatepass')
