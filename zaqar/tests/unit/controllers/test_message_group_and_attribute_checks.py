# SPDX-License-Identifier: Apache-2.0
"""Members of messages, whatever they hold."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zaqar.controllers import (
    idempotency_key,
    message_attribute_codec,
    message_extras_codec,
    message_group_and_attribute_checks,
)
from zaqar.controllers.message_extras_codec import DeadLetter, Extras
from zaqar.controllers.posting import Post, PostedMessage
from zaqar.errors import InvalidBody, InvalidRequest

_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.text()),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(
            ['String', 'Number', 'Binary', 'String.a', '1', 'AA==']
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(), st.sampled_from(['a', 'type', 'value'])),
            inner,
            max_size=12,
        ),
    ),
    max_leaves=20,
)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


@given(_VALUES)
@settings(deadline=None)
def test_any_value_is_read_or_refused(value: Any) -> None:
    try:
        encoded = message_group_and_attribute_checks.attributes(raw(value))
    except InvalidBody:
        pass
    else:
        shown = (
            message_attribute_codec.read_attributes(encoded) if encoded else {}
        )
        assert shown == {
            name: {key: inner[key] for key in ('type', 'value')}
            for name, inner in value.items()
        }
    try:
        text = message_group_and_attribute_checks.text('group', raw(value))
    except InvalidBody:
        return
    assert text == value
    assert 1 <= len(value) <= 128
    assert all('!' <= character <= '~' for character in value)


@pytest.mark.parametrize('text', [b'"\\ud800"', b'{"a": "\\ud800"}'])
def test_half_a_surrogate_pair_is_refused(text: bytes) -> None:
    for read in (
        message_group_and_attribute_checks.attributes,
        lambda member: message_group_and_attribute_checks.text(
            'group', member
        ),
    ):
        with pytest.raises(InvalidBody):
            read(msgspec.Raw(text))


@pytest.mark.parametrize(
    'value',
    [
        {'a' * 255 + '..': {'type': 'String', 'value': 'x'}},
        {'a.' * 120: {'type': 'String', 'value': 'x'}},
        {'a': {'type': 'Number', 'value': '1' * 1_000_000 + 'x'}},
        {'a': {'type': 'Binary', 'value': 'A' * 1_000_001}},
        {'a': {'type': 'String.' + 'x' * 1_000_000, 'value': 'x'}},
    ],
)
def test_long_texts_are_refused_in_no_time(value: Any) -> None:
    start = time.process_time()
    with pytest.raises(InvalidBody):
        message_group_and_attribute_checks.attributes(raw(value))
    assert time.process_time() - start < 1


def test_extras_without_anything_are_none() -> None:
    assert message_extras_codec.encode(Extras()) is None
    assert message_extras_codec.decode(None) == Extras()
    whole = Extras(b'attributes', DeadLetter('q', 'why', 3, 7))
    assert (
        message_extras_codec.decode(message_extras_codec.encode(whole))
        == whole
    )


@given(st.binary(max_size=64))
@settings(deadline=None)
def test_damaged_extras_are_no_extras(data: bytes) -> None:
    extras = message_extras_codec.read(data)
    assert isinstance(extras, Extras)
    message_attribute_codec.read_attributes(data)
    assert message_extras_codec.with_attributes(data, bytes.upper) is not None


@given(st.text())
@settings(deadline=None)
def test_any_key_is_taken_or_refused(key: str) -> None:
    try:
        taken = idempotency_key.checked(key)
    except InvalidRequest:
        return
    assert taken == key.strip(' ')
    token = idempotency_key.token(taken)
    assert token.isascii()
    assert len(token) <= 64


def test_the_fingerprint_counts_what_is_read() -> None:
    def of(**members: Any) -> str:
        values = {name: raw(value) for name, value in members.items()}
        return idempotency_key.fingerprint(Post([PostedMessage(**values)]))

    prints = [
        of(body=1),
        of(body=2),
        of(body=1, delay=0),
        of(body=1, dedup_id='a'),
        of(body=1, group='a'),
        of(body=1, attributes={}),
        idempotency_key.fingerprint(Post([PostedMessage(raw(1), 60)])),
        idempotency_key.fingerprint(Post([PostedMessage(raw(1))] * 2)),
    ]
    assert len(set(prints)) == len(prints)
    assert of(body=1) == prints[0]
