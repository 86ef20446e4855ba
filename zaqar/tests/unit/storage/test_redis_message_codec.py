# SPDX-License-Identifier: Apache-2.0
"""Messages as they are in Redis, also for programs of other releases."""

from msgspec import structs

from zaqar.objects import NewMessage
from zaqar.storage.redis import message_codec

_NEW = NewMessage(
    body=b'"body"', ttl=60, rnd='0123456789abcdef', client='client'
)


#: At this moment the first release with this store has written this.
_NOW = 1_700_000_000_000
_BLOB = b'0123456789abcdef001700000060000001700000000000n\x06client\xff"body"'


def test_a_message_is_stored_as_earlier_releases_read_it() -> None:
    assert message_codec.encode(_NEW, _NOW) == _BLOB
    new = structs.replace(_NEW, group='g', extras=b'extras', dedup_id='d')
    assert message_codec.encode(new, _NOW) == _BLOB


def test_what_claims_record_may_end_with_what_is_beside_the_body() -> None:
    record = b'3 0 0 0 1700000009000 claim'
    plain = message_codec.decode(b'7', _BLOB, record, _NOW)
    assert (plain.claim_count, plain.claim_id) == (3, 'claim')
    assert (plain.group, plain.extras, plain.reason) == (None, None, None)
    beside = b'\n1 -1 3\ng\n\xc3\xa9'
    full = message_codec.decode(b'7', _BLOB, record + beside, _NOW)
    assert (full.group, full.extras) == ('g', None)
    assert full.reason == '\n\xe9'
    assert structs.replace(full, group=None, reason=None) == plain
    alone = message_codec.decode(b'7', _BLOB, b'\n-1 0 -1\n', _NOW)
    assert (alone.extras, alone.claim_count) == (b'', 0)
