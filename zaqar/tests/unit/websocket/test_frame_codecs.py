# SPDX-License-Identifier: Apache-2.0
"""JSON and MessagePack, in and out: reference/websocket, "Frames"."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaqar.api import bounded_json
from zaqar.errors import InvalidRequest
from zaqar.transport.websocket.frame_codecs import JSON, MESSAGE_PACK, codec

pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode

TEXTS = st.text(st.characters(exclude_categories=['Cs']))

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(
        min_value=bounded_json.MIN_INT, max_value=bounded_json.MAX_INT
    )
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=['Cs'])),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(value=VALUES)
def test_a_document_says_the_same_in_both(value: Any) -> None:
    text = JSON.document(JSON.members(json.dumps({'a': value}).encode()))
    packed = MESSAGE_PACK.document(MESSAGE_PACK.members(pack({'a': value})))
    assert json.loads(text.text) == json.loads(packed.text) == {'a': value}


@given(value=VALUES)
def test_a_body_comes_back_from_its_text(value: Any) -> None:
    text = json.dumps(value).encode()
    encoded = MESSAGE_PACK.encode({'body': MESSAGE_PACK.body(text)})
    assert unpack(encoded) == {'body': value}
    encoded = JSON.encode({'body': JSON.body(text)})
    assert encoded == b'{"body":%b}' % text


def test_json_keeps_the_bytes_of_a_document() -> None:
    data = b'{ "messages" : [ {"body": 1.50,  "x":"\\u0041"} ] , "b":2}'
    members = JSON.members(data)
    del members['b']  # type: ignore[attr-defined]
    document = JSON.document(members)
    assert document.text == b'{"messages":[ {"body": 1.50,  "x":"\\u0041"} ]}'
    assert document.size == len(document.text)


def test_message_pack_counts_what_was_received() -> None:
    value = ['\0' * 100]
    measured = MESSAGE_PACK.one(msgspec.Raw(pack(value)))
    assert measured.size == len(pack(value)) == 103
    assert len(measured.text) > 600
    measured = MESSAGE_PACK.document({'messages': msgspec.Raw(pack(value))})
    assert measured.size == len(pack({'messages': value}))


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'x',
        b'{',
        b'{"a":1}x',
        b'\xef\xbb\xbf{}',
        b'{"a":' + b'[' * 100_000 + b']' * 100_000 + b'}',
        b'{"a":' * 100_000,
        b'{"a":"\\ud800"',
        b'["\\ud800"]',
        b'{"a":NaN,"b":"\\ud800"}',
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        JSON.members(data)


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\xc1',
        b'\x81\xa1a',
        pack({'a': 1}) + b'\0',
        pack({'a': 1}) + pack({'a': 1}),
        b'\x81\xa1a' + b'\x91' * 100_000,
        b'\x81\xa1a' + b'\x91' * 100_000 + b'\xc0',
        b'\x81\xa1\xff\x01',
        b'\x81\x81\x01\x02\x03',
        b'\xdf\xff\xff\xff\xff',
    ],
)
def test_what_is_no_message_pack_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        MESSAGE_PACK.members(data)


@pytest.mark.parametrize('value', [None, True, 1, 1.5, 'x', [], [{}]])
@pytest.mark.parametrize('is_binary', [False, True])
def test_what_is_no_object_is_refused(is_binary: bool, value: Any) -> None:
    encoding = codec(is_binary)
    with pytest.raises(InvalidRequest):
        encoding.members(encoding.encode(value))


@given(data=st.binary(max_size=100))
def test_any_bytes_are_an_object_or_refused(data: bytes) -> None:
    for encoding in (JSON, MESSAGE_PACK):
        try:
            members = encoding.members(data)
            encoding.document(members)
        except InvalidRequest:
            continue
        assert all(type(name) is str for name in members)


def test_keys_that_are_no_strings_are_not_heard() -> None:
    members = MESSAGE_PACK.members(pack({b'action': 1, 'action': 2, 3: 4}))
    assert {name: unpack(raw) for name, raw in members.items()} == {
        'action': 2
    }


@pytest.mark.parametrize(
    'value',
    [
        b'x',
        [b'x'],
        {'a': b'x'},
        {b'a': 1},
        {1: 1},
        {None: 1},
        math.nan,
        math.inf,
        msgspec.msgpack.Ext(5, b'x'),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    ],
)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    raw = msgspec.Raw(pack(value))
    with pytest.raises(InvalidRequest):
        MESSAGE_PACK.one(raw)
    with pytest.raises(InvalidRequest):
        MESSAGE_PACK.document({'messages': raw})


@pytest.mark.parametrize(('depth', 'fits'), [(100, True), (150, False)])
def test_nesting_ends(depth: int, fits: bool) -> None:
    raw = msgspec.Raw(b'\x91' * depth + b'\xc0')
    if fits:
        assert MESSAGE_PACK.one(raw).text.startswith(b'[[[')
        return
    with pytest.raises(InvalidRequest):
        MESSAGE_PACK.one(raw)


def test_a_lone_surrogate_in_a_body_stays_as_it_came() -> None:
    data = rb'{"action": "x", "body": {"a": "\ud800", "b": 1}}'
    members = JSON.members(JSON.members(data)['body'])
    document = JSON.document(members)
    assert document.text == rb'{"a":"\ud800","b":1}'


def test_what_only_json_can_say_comes_near_in_message_pack() -> None:
    text = rb'["a\ud800", 12345678901234567890123, {"\udfff": 1}]'
    encoded = MESSAGE_PACK.encode({'body': MESSAGE_PACK.body(text)})
    assert unpack(encoded) == {
        'body': ['a?', 12345678901234567890123.0, {'?': 1}]
    }


#: A body of whole numbers and others as msgpackr 2.1.4 and msgpack-lite 0.2.2
#: send it: [2**32, -(2**31) - 1, Number.MAX_SAFE_INTEGER, {at: 1700000000000},
#: 1.5, 1e300].
_NUMBERS = (
    '96cb41f0000000000000cbc1e0000000200000cb433fffffffffffff'
    '{map}a26174cb4278bcfe56800000cb3ff8000000000000cb7e37e43c8800759c'
)
FROM_JAVASCRIPT = {
    'msgpackr': _NUMBERS.format(map='de0001'),
    'msgpack-lite': _NUMBERS.format(map='81'),
}


@pytest.mark.parametrize('library', FROM_JAVASCRIPT)
def test_whole_numbers_of_javascript_are_integers(library: str) -> None:
    data = bytes.fromhex(FROM_JAVASCRIPT[library])
    measured = MESSAGE_PACK.one(msgspec.Raw(data))
    assert measured.text == (
        b'[4294967296,-2147483649,9007199254740991,{"at":1700000000000},1.5,'
        b'1e300]'
    )


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        (300.0, b'300'),
        (-0.0, b'0'),
        (2.0**62, b'4611686018427387904'),
        (-(2.0**63), b'-9223372036854775808'),
        (2.0**64, b'1.8446744073709552e19'),
        (0.1, b'0.1'),
    ],
)
def test_a_whole_number_is_an_integer_where_json_may_have_it(
    value: float, shown: bytes
) -> None:
    raw = msgspec.Raw(pack(value))
    assert MESSAGE_PACK.one(raw).text == shown
    members = MESSAGE_PACK.members(pack({'ttl': value, 'deep': [[value]]}))
    document = MESSAGE_PACK.document(members)
    assert document.text == b'{"ttl":%b,"deep":[[%b]]}' % (shown, shown)
    # Where a parameter is read, too.
    assert repr(MESSAGE_PACK.value(raw)) == repr(json.loads(shown))
