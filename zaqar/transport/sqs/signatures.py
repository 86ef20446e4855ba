# SPDX-License-Identifier: Apache-2.0
"""Signature V4, in the ``Authorization`` header or in the query.

:source: AWS, "Signature Version 4 for API requests"
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote

import msgspec

from zaqar.transport.sqs.faults import Fault
from zaqar.transport.wsgi_types import Environ

ALGORITHM = 'AWS4-HMAC-SHA256'
QUERY_SIGNATURE = 'X-Amz-Signature'
_VERSION = 'SignatureVersion'

#: Seconds by which the clock of a client may be wrong, and for which a
#: pre-signed request may be valid.
MAX_SKEW = 900
MAX_EXPIRES = 604_800

#: Headers that say what a request is, hence have to be signed if they are
#: there.
_MEANINGFUL = ('x-amz-target', 'x-amz-date', 'x-amz-security-token')

_HEADER = re.compile(
    rf'{ALGORITHM} +Credential=([^, ]+) *, *SignedHeaders=([^, ]+) *, *'
    'Signature=([0-9a-f]{64})'
)
_SCOPE = re.compile(
    r'\A(\d{8})/([A-Za-z0-9-]{1,64})/([a-z0-9]{1,32})/aws4_request', re.ASCII
)
#: Characters of an access key, at most: without Keystone it is a project.
MOST_ACCESS = 256

#: The form of moments.
MOMENT = '%Y%m%dT%H%M%SZ'

Pairs = Sequence[tuple[str, str]]


class Signature(msgspec.Struct, frozen=True):
    """The signature of a request, and what it is made from.

    :ivar access: the access key
    :ivar scope: date, region and service of the signing key
    :ivar moment: when it was made, as the client wrote it
    :ivar expires: seconds for which a pre-signed request is valid, None for
        one that is signed in its header
    :ivar headers: the signed ones with their values, in their order
    :ivar query: of the request without the signature
    :ivar path: in the form in which it is signed
    """

    access: str
    scope: tuple[str, str, str]
    moment: str
    value: str
    expires: int | None
    headers: Pairs
    method: str
    path: str
    query: Pairs
    body_hash: str

    @property
    def region(self) -> str:
        return self.scope[1]

    def canonical(self) -> str:
        """Return what is signed of the request."""
        query = '&'.join(
            f'{name}={value}'
            for name, value in sorted(
                (_escaped(name), _escaped(value)) for name, value in self.query
            )
        )
        headers = [f'{name}:{value}' for name, value in self.headers]
        names = ';'.join(name for name, _ in self.headers)
        return '\n'.join(
            (
                *(self.method, self.path, query, *headers, ''),
                *(names, self.body_hash),
            )
        )

    def is_made_with(self, secret: str) -> bool:
        """Tell whether it is the one that a secret makes."""
        # As bytes: text with other than ASCII cannot be compared.
        return hmac.compare_digest(
            self.made_with(secret).encode(), self.value.encode()
        )

    def made_with(self, secret: str) -> str:
        """Return the one that a secret makes."""
        scope = '/'.join((*self.scope, 'aws4_request'))
        digest = hashlib.sha256(self.canonical().encode()).hexdigest()
        text = '\n'.join((ALGORITHM, self.moment, scope, digest))
        key = f'AWS4{secret}'.encode()
        for part in (*self.scope, 'aws4_request', text):
            key = hmac.digest(key, part.encode(), 'sha256')
        return key.hex()

    def check_time(self, now: datetime.datetime) -> None:
        """Check that the request is of the present.

        :raises Fault: it is not
        """
        try:
            made = _moment(self.moment)
        except ValueError:
            raise _incomplete('X-Amz-Date is not valid') from None
        if self.moment[:8] != self.scope[0]:
            raise Fault(
                'SignatureDoesNotMatch',
                'The date of the credential is not that of the request.',
            )
        age = (now - made).total_seconds()
        if self.expires is not None and age >= -MAX_SKEW:
            if age > self.expires:
                raise Fault('RequestExpired', 'The request has expired.')
        elif abs(age) > MAX_SKEW:
            raise Fault(
                'RequestTimeTooSkewed',
                'The difference between the request time and the current '
                'time is too large.',
            )


# Of the present there are few; what is none is an error, which is not cached.
@functools.lru_cache(maxsize=64)
def _moment(text: str) -> datetime.datetime:
    made = datetime.datetime.strptime(text, MOMENT)
    return made.replace(tzinfo=datetime.UTC)


def read(environ: Environ, body: bytes) -> Signature | None:
    """Return the signature of a request, None if it has none.

    :raises Fault: it is malformed, or does not cover what it has to
    """
    pairs = parse_qsl(environ.get('QUERY_STRING', ''), keep_blank_values=True)
    query = dict(pairs)
    if query.get(_VERSION, '4') != '4':
        # Keystone would prove by it, and older ones cover neither the body nor
        # headers.
        raise _incomplete(f'{_VERSION} is not 4')
    if 'HTTP_AUTHORIZATION' in environ:
        header: str = environ['HTTP_AUTHORIZATION']
        if not header.startswith('AWS4'):
            raise _incomplete('the Authorization header is of another kind')
        match = _HEADER.fullmatch(header.strip())
        if match is None:
            raise _incomplete('the Authorization header is malformed')
        credential, names, value = match.groups()
        moment = environ.get('HTTP_X_AMZ_DATE', '')
        expires = None
    elif QUERY_SIGNATURE in query or 'X-Amz-Credential' in query:
        if query.get('X-Amz-Algorithm') != ALGORITHM:
            raise _incomplete(f'X-Amz-Algorithm must be {ALGORITHM}')
        credential = query.get('X-Amz-Credential', '')
        names = query.get('X-Amz-SignedHeaders', '')
        value = query.get(QUERY_SIGNATURE, '')
        moment = query.get('X-Amz-Date', '')
        expires = _expires(query.get('X-Amz-Expires', ''))
    else:
        return None
    access, *rest = credential.rsplit('/', 4)
    parts = _SCOPE.fullmatch('/'.join(rest))
    if parts is None or not 1 <= len(access) <= MOST_ACCESS:
        raise _incomplete('the credential is malformed')
    body_hash = hashlib.sha256(body).hexdigest()
    if environ.get('HTTP_X_AMZ_CONTENT_SHA256', body_hash) != body_hash:
        raise Fault(
            'SignatureDoesNotMatch',
            'X-Amz-Content-Sha256 is not the hash of the body.',
        )
    return Signature(
        access=access,
        scope=(parts[1], parts[2], parts[3]),
        moment=moment,
        value=value,
        expires=expires,
        headers=_signed_headers(environ, names),
        method=environ['REQUEST_METHOD'],
        path=_path(environ),
        query=[pair for pair in pairs if pair[0] != QUERY_SIGNATURE],
        body_hash=body_hash,
    )


def _signed_headers(environ: Environ, names: str) -> Pairs:
    signed = names.lower().split(';')
    needed = ['host']
    needed += [name for name in _MEANINGFUL if _key(name) in environ]
    for name in needed:
        if name not in signed:
            raise Fault(
                'SignatureDoesNotMatch', f'The header {name} is not signed.'
            )
    return [
        (name, ' '.join(str(environ.get(_key(name), '')).split()))
        for name in signed
    ]


@functools.lru_cache(maxsize=256)
def _key(name: str) -> str:
    key = name.upper().replace('-', '_')
    bare = key in ('CONTENT_TYPE', 'CONTENT_LENGTH')
    return key if bare else f'HTTP_{key}'


def _path(environ: Environ) -> str:
    path = environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
    sent = quote(path.encode('latin-1', 'replace'), safe='/-_.~')
    # All services but one sign the path as it is sent, escaped once more.
    return quote(sent, safe='/-_.~')


def _expires(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise _incomplete('X-Amz-Expires is not valid')
    if not 1 <= int(text) <= MAX_EXPIRES:
        raise _incomplete(f'X-Amz-Expires is 1 to {MAX_EXPIRES}')
    return int(text)


def _escaped(text: str) -> str:
    return quote(text, safe='-_.~')


def _incomplete(reason: str) -> Fault:
    return Fault('IncompleteSignature', f'The signature is invalid: {reason}.')
