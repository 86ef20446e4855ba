# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: reference/http, "Bodies"."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from zaqar.tests.functional.http.client import PATCH, Api

pytestmark = pytest.mark.sqlite

MESSAGES = '/v2/queues/q/messages'

#: Every request that reads a body, and whether it needs one.
READERS = [
    ('PUT', '/v2/queues/q', None, False),
    ('PATCH', '/v2/queues/q', PATCH, True),
    ('POST', '/v2/queues/q/purge', None, False),
    ('POST', MESSAGES, None, True),
    ('POST', '/v2/queues/q/claims', None, False),
    ('PATCH', '/v2/queues/q/claims/c', None, True),
]

EACH = pytest.mark.parametrize(('method', 'path', 'kind', 'needed'), READERS)


def _send(api: Api, method: str, path: str, kind: Any, raw: Any) -> Any:
    api('PUT', '/v2/queues/q')
    return api(method, path, raw=raw, headers={'Content-Type': kind})


#: What is no JSON document, for whichever operation.
NO_DOCUMENTS = [
    b'{',
    b'[1,]',
    b' ',
    b'\xff{}',
    b'\xef\xbb\xbf{}',
    b'"\xff"',
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'[-Infinity]',
    b'{"a": 1e400}',
    b'[' * 200 + b']' * 200,
    b'[' * 100_000,
    b'1',
    b'"x"',
    b'null',
    b'true',
]


@EACH
def test_what_is_no_json_document_is_refused(
    api: Api, method: str, path: str, kind: Any, needed: bool
) -> None:
    for raw in NO_DOCUMENTS:
        if len(raw) > 65536 and path != MESSAGES:
            raw = raw[:60_000]
        answer = _send(api, method, path, kind, raw)
        assert answer.is_error(400, 'Invalid request body'), raw
        if raw in (b'{', b'1', b'null', b' ', b'\xff{}'):
            assert answer.description == 'Request body could not be parsed.'


@EACH
def test_an_integer_beyond_64_bits_is_refused_anywhere(
    api: Api, method: str, path: str, kind: Any, needed: bool
) -> None:
    for shape in ('{"ttl": [%d]}', '[{"a": {"b": %d}}]'):
        for number in (2**63, -(2**63) - 1, 10**30):
            raw = (shape % number).encode()
            assert _send(api, method, path, kind, raw).is_error(
                400,
                'Invalid request body',
                'JSON contains integer that is too large.',
            )


@pytest.mark.parametrize('number', [2**63 - 1, -(2**63)])
def test_the_outermost_64_bit_integers_pass(api: Api, number: int) -> None:
    api.post('q', {'n': number})
    assert api.bodies('q') == [{'n': number}]


@EACH
def test_a_body_that_is_needed_and_not_there_is_refused(
    api: Api, method: str, path: str, kind: Any, needed: bool
) -> None:
    absent = _send(api, method, path, kind, None)
    empty = _send(api, method, path, kind, b'')
    if not needed:
        assert absent.status in (201, 204)
        assert empty.status in (201, 204)
        return
    texts = ('Request body can not be empty', 'could not be parsed.')
    if kind == PATCH:
        texts = ('PATCH body could not be empty for update.',) * 2
    assert absent.is_error(400, 'Invalid request body', texts[0])
    assert empty.is_error(400, 'Invalid request body', texts[1])


@EACH
def test_the_content_type_of_a_body_is_ignored_where_it_is_no_patch(
    api: Api, method: str, path: str, kind: Any, needed: bool
) -> None:
    answer = _send(api, method, path, 'text/html', b'{')
    assert answer.status == (415 if kind == PATCH else 400)


def test_a_chunked_body_is_read(api: Api) -> None:
    raw = json.dumps({'messages': [{'body': 'x' * 100_000}]}).encode()
    answer = api(
        'POST',
        MESSAGES,
        headers={'Transfer-Encoding': 'chunked'},
        environ={'wsgi.input': io.BytesIO(raw), 'wsgi.input_terminated': True},
    )
    assert answer.status == 201
    assert api.bodies('q') == ['x' * 100_000]


def test_a_chunked_body_that_is_too_large_is_refused_unread(api: Api) -> None:
    source = io.BytesIO(b' ' * 1_000_000)
    answer = api(
        'POST',
        MESSAGES,
        headers={'Transfer-Encoding': 'chunked'},
        environ={'wsgi.input': source, 'wsgi.input_terminated': True},
    )
    assert answer.is_error(400, 'Invalid API request', 'too large')
    assert source.tell() < 500_000


@pytest.mark.parametrize('length', ['x', '-1', '+1', '1.0', '\u0661'])
def test_a_length_that_is_no_number_is_refused(api: Api, length: str) -> None:
    answer = api(
        'POST', MESSAGES, raw=b'{}', headers={'Content-Length': length}
    )
    assert answer.is_error(400, 'Invalid request body')


@pytest.mark.parametrize(
    'text',
    [
        '"é☃𝄞"',
        '"\\u00e9\\ud834\\udd1e"',
        '{"b": 1, "a": 2, "b": 3}',
        '1.10',
        '1e2',
        '-0',
        '"\\ud800"',
        '{"a":{},"b":[],"c":null,"d":false}',
        '[ 1 , 2 ]',
        'null',
        '""',
        '"/\\/"',
    ],
)
def test_a_body_comes_back_as_the_text_it_was(api: Api, text: str) -> None:
    raw = f'{{"messages": [{{"body": {text}}}]}}'.encode()
    answer = api('POST', MESSAGES, raw=raw)
    assert answer.status == 201
    shown = api('GET', f'{MESSAGES}?echo=true').body
    assert text.encode() in shown
    claimed = api.claim('q').body
    assert text.encode() in claimed


def test_answers_hold_text_unescaped_and_name_no_charset(api: Api) -> None:
    api('PUT', '/v2/queues/q', {'owner': 'é☃'})
    answer = api('GET', '/v2/queues/q')
    assert 'é☃'.encode() in answer.body
    assert answer.headers['content-type'] == 'application/json'


@pytest.mark.parametrize('value', [True, False, 60.0, '60', [], {}, None])
def test_only_an_integer_is_an_integer(api: Api, value: Any) -> None:
    message = {'messages': [{'body': 1, 'ttl': value}]}
    answer = api('POST', MESSAGES, message)
    assert answer.is_error(
        400,
        'Invalid request body',
        'The value of the "ttl" field must be a int.',
    )
    for field in ('ttl', 'grace'):
        answer = api('POST', '/v2/queues/q/claims', {field: value})
        assert answer.is_error(400, 'Invalid request body', f'"{field}"')
        answer = api('PATCH', '/v2/queues/q/claims/c', {field: value})
        assert answer.is_error(400, 'Invalid request body', f'"{field}"')
