# SPDX-License-Identifier: Apache-2.0
"""Bodies: kept to the byte, on every way out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from zaqar.objects import Message, NewMessage
from zaqar.tests.contract.probe import ALICE, Probe

BODIES = {
    'null': b'null',
    'true': b'true',
    'false': b'false',
    'zero': b'0',
    'negative': b'-17',
    'largest integer': b'9223372036854775807',
    'beyond signed': b'18446744073709551615',
    'decimals': b'0.1000',
    'exponent': b'1E+2',
    'negative zero': b'-0.0',
    'text': b'"text"',
    'empty text': b'""',
    'accents': '"äöü \N{SNOWMAN} \N{PILE OF POO}"'.encode(),
    'escapes': b'"\\u00e4\\/\\n\\u0000\\"\\\\"',
    'lone surrogate': b'"\\ud800"',
    'percent and colon': b'"%s %(x)s :name ::int"',
    'backslash and quote': b'"\\\\\' OR 1=1; --"',
    'array': b'[]',
    'nested array': b'[[[1],[2,[3]]],null,"x"]',
    'object': b'{}',
    'nested object': b'{"a":{"b":[{"c":null}]}}',
    'duplicate keys': b'{"a":1,"a":2}',
    'blanks kept': b'{ "a" :\t[ 1 ,\r\n2 ] }',
    'looks like an id': b'"0123456789abcdef0123456789abcdef"',
}


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> bytes:
    """A body of each kind."""
    return BODIES[request.param]


def post(queue: Probe, body: bytes) -> str:
    """Post a body as it is."""
    message = NewMessage(body=body, ttl=3600, rnd='0' * 16, client=ALICE)
    return queue.send([message])[0]


def texts(messages: Sequence[Message]) -> list[bytes]:
    """Return bodies as they are."""
    return [bytes(message.body) for message in messages]


def test_every_way_out_gives_the_body_to_the_byte(
    queue: Probe, body: bytes
) -> None:
    one = post(queue, body)
    assert texts(queue.list().messages) == [body]
    assert texts(queue.get(one)) == [body]
    claim = queue.take(max_claims=1)
    assert texts(claim.messages) == [body]
    stored = queue.claimed(claim.id)
    assert stored is not None
    assert texts(stored.messages) == [body]
    listed = queue.list(include_claimed=True)
    assert texts(listed.messages) == [body]
    queue.release(claim.id)
    spent = queue.take(max_claims=1)
    assert texts(spent.exhausted) == [body]
    queue.release(spent.id)
    assert texts(queue.pop()) == [body]
