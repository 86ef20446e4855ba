# SPDX-License-Identifier: Apache-2.0
"""Which texts pass as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaqar.api import bounded_json
from zaqar.api.operation_declarations import messages
from zaqar.errors import InvalidBody, InvalidRequest


def post_of(body: bytes) -> bytes:
    return b'{"messages": [{"body": ' + body + b'}]}'


REFUSED = [
    b'',
    b'   ',
    b'{',
    b'1',
    b'"x"',
    b'null',
    b'\xef\xbb\xbf{}',
    b'{"a": "\xff"}',
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1e400}',
    b'{"a": -1E999}',
    b'{"a": 9223372036854775808}',
    b'{"a": -9223372036854775809}',
    b'{"a": ' + b'9' * 5000 + b'}',
    b'{"a": ' + b'9' * 5000 + b'.5}',
    b'{} {}',
    b'{"a": ' + b'[' * 100 + b']' * 100 + b'}',
    b'{"a": ' + b'[' * 100_000,
    b'[' * 100_000 + b']' * 100_000,
    b'[1e400]',
    b'[0,-1.5E999]',
    b'{"a":17.25e400}',
    b'[\n\t1e400]',
    b'[\n1e400]',
    b'[\r1e400]',
    b'["1e2",9223372036854775808]',
]


@pytest.mark.parametrize('raw', REFUSED, ids=lambda raw: repr(raw[:30]))
def test_a_text_that_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidBody):
        bounded_json.decode_any(raw)


@pytest.mark.parametrize('raw', REFUSED[7:16], ids=lambda r: repr(r[:30]))
def test_a_message_body_that_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidBody):
        messages.POST.decode(post_of(raw))


@pytest.mark.parametrize(
    'raw',
    [
        b'{"a": 9223372036854775807}',
        b'{"a": -9223372036854775808}',
        b'{"a": 1e308}',
        b'{"a": 1e-400}',
        b'{"a": "99999999999999999999 1e400"}',
        b'{"a": "\\"99999999999999999999"}',
        b'{"a": ' + b'[' * 99 + b']' * 99 + b'}',
        b'[' + b'{"a": []},' * 200 + b'{}]',
        b'{"a": "' + b'[' * 200 + b'"}',
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_a_text_at_the_edge_passes(raw: bytes) -> None:
    assert bounded_json.decode_any(raw) == json.loads(raw)


@pytest.mark.parametrize(
    'body',
    [
        b'"\\ud800"',
        b'{"x" : "\\uDBFF\\\\ud800"}',
        b'["\\ud83d\\ude00", "\\udc00"]',
        b'{"a":1,"a":2}',
        b' "\\u0000"'.strip(),
    ],
)
def test_a_body_is_kept_to_the_byte(body: bytes) -> None:
    (message,) = messages.POST.decode(post_of(body)).messages
    assert bytes(message.body) == body


def test_a_body_beside_a_lone_surrogate_is_kept_too() -> None:
    raw = (
        b' { "z\\udfff": [1], "messages" : [ {"ttl": 60, "body": "\\ud800"} ,'
        b'{"body":{"a" : [ ]}, "b": "\\ud800"}] }'
    )
    first, second = messages.POST.decode(raw).messages
    assert (bytes(first.body), first.ttl) == (b'"\\ud800"', 60)
    assert bytes(second.body) == b'{"a" : [ ]}'


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_any_json_value_comes_back_as_sent(value: object, text: bool) -> None:
    body = json.dumps(value, ensure_ascii=text).encode(
        'utf-8', 'surrogatepass'
    )
    (message,) = messages.POST.decode(post_of(body)).messages
    assert bytes(message.body) == body


@given(st.binary(max_size=200))
def test_no_text_whatever_gives_anything_but_a_refusal(raw: bytes) -> None:
    for text in (raw, post_of(raw)):
        try:
            messages.POST.decode(text)
        except InvalidRequest as error:
            assert error.status == 400
