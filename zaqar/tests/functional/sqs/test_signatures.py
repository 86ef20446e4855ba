# SPDX-License-Identifier: Apache-2.0
"""Signatures: what is covered by them, and until when."""

from __future__ import annotations

import datetime
import io
import urllib.parse
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from zaqar.tests.functional.sqs.clients import REGION, Form, send, signed
from zaqar.tests.servers.zaqar import Zaqar
from zaqar.transport.sqs import signature_v4
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.signature_v4 import Signature

NOW = datetime.datetime.now(datetime.UTC)


def _environ(request: Any) -> dict[str, Any]:
    parts = urllib.parse.urlsplit(request.url)
    headers = {
        f'HTTP_{name.upper().replace("-", "_")}': value
        if isinstance(value, str)
        else value.decode()
        for name, value in request.headers.items()
    }
    for name in ('CONTENT_TYPE', 'CONTENT_LENGTH'):
        if f'HTTP_{name}' in headers:
            headers[name] = headers.pop(f'HTTP_{name}')
    path = urllib.parse.unquote_to_bytes(parts.path).decode('latin-1')
    return {
        'REQUEST_METHOD': request.method,
        'PATH_INFO': path,
        'QUERY_STRING': parts.query,
        'HTTP_HOST': parts.netloc,
        'wsgi.input': io.BytesIO(),
        **headers,
    }


_TEXT = st.text(
    st.characters(
        codec='ascii', min_codepoint=33, exclude_characters='/?#%\\'
    ),
    min_size=1,
    # Clients leave them out of the path that they sign; no queue has the name.
).filter(lambda text: text not in ('.', '..'))


@pytest.mark.proves('signatures of Amazon SQS')
@settings(max_examples=50, deadline=None)
@given(
    name=_TEXT,
    query=st.dictionaries(st.text(min_size=1), st.text(), max_size=3),
    body=st.binary(max_size=50),
    header=st.text('ab ', max_size=9),
    secret=st.text('abc', min_size=1),
)
def test_whatever_botocore_signs_is_proved(
    name: str, query: dict[str, str], body: bytes, header: str, secret: str
) -> None:
    path = urllib.parse.quote(f'/sqs/{name}')
    quoted = urllib.parse.quote
    text = urllib.parse.urlencode(
        query, errors='replace', quote_via=quoted, safe='-_.~'
    )
    url = f'http://h:1{path}' + (f'?{text}' if text else '')
    request = AWSRequest('POST', url, data=body, headers={'x-b': header})
    SigV4Auth(Credentials('key', secret), 'sqs', REGION).add_auth(request)
    environ = _environ(request.prepare())
    signature = signature_v4.read(environ, body)
    assert _is_made_with(signature, secret)
    assert not _is_made_with(signature, f'{secret}x')
    assert signature is not None
    assert signature.authorization == environ['HTTP_AUTHORIZATION']
    changed = signature_v4.read(environ, body + b'x')
    assert not _is_made_with(changed, secret)
    moved = signature_v4.read({**environ, 'PATH_INFO': '/sqs/a/b/c'}, body)
    assert not _is_made_with(moved, secret)


def _is_made_with(signature: Signature | None, secret: str) -> bool:
    assert signature is not None
    return signature.is_made_with(signature.signing_key(secret))


def _read(**changes: str | None) -> Any:
    headers = {'X-Amz-Target': 'AmazonSQS.ListQueues'}
    environ = {
        **_environ(signed('http://h:1/sqs', 'key', headers=headers)),
        **changes,
    }
    return signature_v4.read(
        {key: value for key, value in environ.items() if value is not None},
        b'',
    )


@pytest.mark.proves('signatures of Amazon SQS')
def test_headers_that_say_what_a_request_is_have_to_be_signed() -> None:
    assert _is_made_with(_read(), 'secret')
    other = _read(HTTP_X_AMZ_TARGET='AmazonSQS.A')
    assert not _is_made_with(other, 'secret')
    with pytest.raises(Fault, match='x-amz-security-token is not signed'):
        _read(HTTP_X_AMZ_SECURITY_TOKEN='t')
    header = _environ(signed('http://h:1/sqs', 'key'))['HTTP_AUTHORIZATION']
    for wrong in (
        'Basic YTpi',
        header.replace('host;', ''),
        # Keystone would see one of them alone.
        header.replace('host;', 'host;host;'),
        header.replace('SignedHeaders', 'Signed'),
        header.replace('aws4_request', 'other'),
        header[:-1],
    ):
        with pytest.raises(Fault):
            _read(HTTP_AUTHORIZATION=wrong)
    with pytest.raises(Fault, match='hash of the body'):
        _read(HTTP_X_AMZ_CONTENT_SHA256='UNSIGNED-PAYLOAD')
    with pytest.raises(Fault, match='holds a name twice'):
        _read(QUERY_STRING='Action=a&Action=b')


@pytest.mark.proves('signatures of Amazon SQS')
@pytest.mark.parametrize('minutes', [-15, 15])
def test_a_signature_is_of_the_present(minutes: int) -> None:
    signature = _read()
    made = datetime.datetime.strptime(
        signature.moment, '%Y%m%dT%H%M%SZ'
    ).replace(tzinfo=datetime.UTC)
    edge = made + datetime.timedelta(minutes=minutes)
    signature.check_time(edge)
    beyond = edge + datetime.timedelta(seconds=minutes / 15)
    with pytest.raises(Fault, match='RequestTimeTooSkewed'):
        signature.check_time(beyond)


def test_a_presigned_request_expires() -> None:
    made = NOW.strftime('%Y%m%dT%H%M%SZ')
    query = urllib.parse.urlencode(
        {
            'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
            'X-Amz-Credential': f'key/{made[:8]}/r/sqs/aws4_request',
            'X-Amz-Date': made,
            'X-Amz-Expires': '3600',
            'X-Amz-SignedHeaders': 'host',
            'X-Amz-Signature': '0' * 64,
        }
    )
    environ = _environ(AWSRequest('GET', f'http://h/sqs?{query}').prepare())
    signature = signature_v4.read(environ, b'')
    assert signature is not None
    second = datetime.timedelta(seconds=1)
    hour = NOW.replace(microsecond=0) + 3600 * second
    signature.check_time(hour)
    with pytest.raises(Fault, match='RequestExpired'):
        signature.check_time(hour + second)
    for name, value in (('X-Amz-Expires', '604801'), ('X-Amz-Date', 'x')):
        wrong = query.replace(f'{name}=', f'{name}={value}&a=')
        with pytest.raises(Fault, match='IncompleteSignature'):
            read = signature_v4.read({**environ, 'QUERY_STRING': wrong}, b'')
            assert read is not None
            read.check_time(NOW)
    # Keystone would prove it in another way.
    older = {**environ, 'QUERY_STRING': f'{query}&SignatureVersion=0'}
    with pytest.raises(Fault, match='IncompleteSignature'):
        signature_v4.read(older, b'')
    odd = query.replace('0' * 64, '%C3%A9')
    read = signature_v4.read({**environ, 'QUERY_STRING': odd}, b'')
    assert not _is_made_with(read, 'secret')


def test_an_unsigned_request_is_refused(zaqar: Zaqar, form: Form) -> None:
    request = signed(form.endpoint, form.project, body=b'Action=ListQueues')
    del request.headers['Authorization']
    answer = send(request)
    assert answer.status_code == 403
    assert '<Code>MissingAuthenticationToken</Code>' in answer.text
    request.headers['X-Amz-Target'] = 'AmazonSQS.ListQueues'
    answer = send(request)
    assert answer.headers['x-amzn-query-error'] == (
        'MissingAuthenticationToken;Sender'
    )
    assert answer.json()['__type'] == (
        'com.amazonaws.sqs#MissingAuthenticationToken'
    )
    assert 'Date' in answer.headers


def test_the_service_warns_once_that_it_trusts_any_signature(
    zaqar: Zaqar,
) -> None:
    log = zaqar.log.read_text()
    assert log.count('the access key of a request is taken for its') == 1


def test_the_endpoint_answers_with_and_without_a_slash(
    zaqar: Zaqar, project: str
) -> None:
    headers = {'X-Amz-Target': 'AmazonSQS.ListQueues'}
    requests = [
        signed(zaqar.url + path, project, body=b'{}', headers=headers)
        for path in ('/sqs', '/sqs/')
    ]
    # SDKs repeat requests with the very same signature.
    for request in requests * 2:
        answer = send(request)
        assert answer.status_code == 200
        assert answer.json() == {}
        assert answer.headers['Content-Type'] == 'application/x-amz-json-1.0'
        assert len(answer.headers['x-amzn-RequestId']) == 36
