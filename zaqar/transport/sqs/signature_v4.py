# SPDX-License-Identifier: Apache-2.0
"""Signature V4, in the ``Authorization`` header or in the query.

:source: AWS, "Signature Version 4 for API requests"
"""

import datetime
import functools
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
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


def _key(name: str) -> str:
    """Return the key that a header has in the environment of WSGI."""
    key = name.upper().replace('-', '_')
    bare = key in ('CONTENT_TYPE', 'CONTENT_LENGTH')
    return key if bare else f'HTTP_{key}'


#: Headers that say what a request is, hence have to be signed if they are
#: there, by their keys of WSGI.
_MEANINGFUL = {
    name: _key(name)
    for name in ('x-amz-target', 'x-amz-date', 'x-amz-security-token')
}

#: The header, but for the signature itself.
_HEADER = re.compile(
    rf'{ALGORITHM} +Credential=([^, ]+) *, *SignedHeaders=([^, ]+) *, *'
    'Signature='
)
_VALUE = re.compile(r'\A[0-9a-f]{64}')
_SCOPE = re.compile(
    r'\A(\d{8})/([A-Za-z0-9-]{1,64})/([a-z0-9]{1,32})/aws4_request', re.ASCII
)
#: Characters of an access key, at most: without Keystone it is a project.
MOST_ACCESS = 256

#: Characters of the longest header whose parts are cached: callers choose it.
_USUAL = 400

#: Paths that are signed as they are.
_PLAIN = re.compile('[A-Za-z0-9/_.~-]*')

#: The end of a scope.
_TERMINATOR = 'aws4_request'

#: The form of moments.
MOMENT = '%Y%m%dT%H%M%SZ'

Pairs = Sequence[tuple[str, str]]

#: Date, region and service of a signing key.
Scope = tuple[str, str, str]


class Signature(msgspec.Struct, frozen=True):
    """The signature of a request, and what it is made from.

    :ivar access: the access key
    :ivar scope: of its signing key
    :ivar moment: when it was made, as the client wrote it
    :ivar expires: seconds for which a pre-signed request is valid, None for
        one that is signed in its header
    :ivar headers: the signed ones with their values, in their order
    :ivar query: of the request without the signature
    :ivar path: in the form in which it is signed
    """

    access: str
    scope: Scope
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

    @property
    def authorization(self) -> str:
        """The header that it is sent in."""
        return (
            f'{ALGORITHM} Credential={self.access}/{self._scope}, '
            f'SignedHeaders={self._names}, Signature={self.value}'
        )

    @property
    def _names(self) -> str:
        return ';'.join([name for name, _ in self.headers])

    @property
    def _scope(self) -> str:
        date, region, service = self.scope
        return f'{date}/{region}/{service}/{_TERMINATOR}'

    def canonical(self) -> str:
        """Return what is signed of the request."""
        query = '&'.join(
            f'{name}={value}'
            for name, value in sorted(
                (_escaped(name), _escaped(value)) for name, value in self.query
            )
        )
        headers = ''.join(
            [f'{name}:{value}\n' for name, value in self.headers]
        )
        return (
            f'{self.method}\n{self.path}\n{query}\n{headers}\n{self._names}\n'
            f'{self.body_hash}'
        )

    def signing_key(self, secret: str) -> bytes:
        """Return the key that a secret has in the scope of the signature."""
        key = f'AWS4{secret}'.encode()
        for part in (*self.scope, _TERMINATOR):
            key = hmac.digest(key, part.encode(), 'sha256')
        return key

    def is_made_with(self, key: bytes) -> bool:
        """Tell whether it is the one that a signing key makes."""
        # As bytes: text with other than ASCII cannot be compared.
        return hmac.compare_digest(
            self.made_with(key).encode(), self.value.encode()
        )

    def made_with(self, key: bytes) -> str:
        """Return the one that a signing key makes."""
        digest = hashlib.sha256(self.canonical().encode()).hexdigest()
        text = f'{ALGORITHM}\n{self.moment}\n{self._scope}\n{digest}'
        return hmac.digest(key, text.encode(), 'sha256').hex()

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
    text = environ.get('QUERY_STRING', '')
    pairs = parse_qsl(text, keep_blank_values=True) if text else []
    query = dict(pairs)
    if len(query) < len(pairs):
        # Keystone would prove by the last one of them alone.
        raise _incomplete('the query holds a name twice')
    if query.get(_VERSION, '4') != '4':
        # Keystone would prove by it, and older ones cover neither the body nor
        # headers.
        raise _incomplete(f'{_VERSION} is not 4')
    if 'HTTP_AUTHORIZATION' in environ:
        header: str = environ['HTTP_AUTHORIZATION'].strip()
        value, beginning = header[-64:], header[:-64]
        is_usual = len(beginning) <= _USUAL
        signer = (_cached_signer if is_usual else _signer)(beginning)
        if not _VALUE.fullmatch(value):
            raise _malformed_header()
        moment = environ.get('HTTP_X_AMZ_DATE', '')
        expires = None
    elif QUERY_SIGNATURE in query or 'X-Amz-Credential' in query:
        if query.get('X-Amz-Algorithm') != ALGORITHM:
            raise _incomplete(f'X-Amz-Algorithm must be {ALGORITHM}')
        signer = _signer_of(
            query.get('X-Amz-Credential', ''),
            query.get('X-Amz-SignedHeaders', ''),
        )
        value = query.get(QUERY_SIGNATURE, '')
        moment = query.get('X-Amz-Date', '')
        expires = _expires(query.get('X-Amz-Expires', ''))
    else:
        return None
    body_hash = hashlib.sha256(body).hexdigest()
    if environ.get('HTTP_X_AMZ_CONTENT_SHA256', body_hash) != body_hash:
        raise Fault(
            'SignatureDoesNotMatch',
            'X-Amz-Content-Sha256 is not the hash of the body.',
        )
    return Signature(
        access=signer.access,
        scope=signer.scope,
        moment=moment,
        value=value,
        expires=expires,
        headers=_signed_headers(environ, signer.headers),
        method=environ['REQUEST_METHOD'],
        path=_path(environ),
        query=[pair for pair in pairs if pair[0] != QUERY_SIGNATURE],
        body_hash=body_hash,
    )


class _Signer(NamedTuple):
    """What the signatures of a client have in common for a day.

    :ivar headers: the signed ones, in their order, with their keys of WSGI
    """

    access: str
    scope: Scope
    headers: Mapping[str, str]


def _signer(beginning: str) -> _Signer:
    """Return what a header says in front of the signature itself.

    :raises Fault: it is malformed
    """
    if not beginning.startswith('AWS4'):
        raise _incomplete('the Authorization header is of another kind')
    match = _HEADER.fullmatch(beginning)
    if match is None:
        raise _malformed_header()
    return _signer_of(*match.groups())


_cached_signer = functools.lru_cache(maxsize=1024)(_signer)


def _signer_of(credential: str, names: str) -> _Signer:
    access, *rest = credential.rsplit('/', 4)
    parts = _SCOPE.fullmatch('/'.join(rest))
    if parts is None or not 1 <= len(access) <= MOST_ACCESS:
        raise _incomplete('the credential is malformed')
    signed = names.lower().split(';')
    headers = {name: _key(name) for name in signed}
    if len(headers) < len(signed):
        # Of these, too, Keystone would see one alone.
        raise _incomplete('a header is signed twice')
    _check_is_signed('host', headers)
    return _Signer(access, (parts[1], parts[2], parts[3]), headers)


def _signed_headers(environ: Environ, signed: Mapping[str, str]) -> Pairs:
    for name, key in _MEANINGFUL.items():
        if key in environ:
            _check_is_signed(name, signed)
    return [
        (name, ' '.join(str(environ.get(key, '')).split()))
        for name, key in signed.items()
    ]


def _check_is_signed(name: str, signed: Mapping[str, str]) -> None:
    if name not in signed:
        raise Fault(
            'SignatureDoesNotMatch', f'The header {name} is not signed.'
        )


def _path(environ: Environ) -> str:
    path = environ.get('SCRIPT_NAME', '') + environ.get('PATH_INFO', '')
    if _PLAIN.fullmatch(path):
        return str(path)
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


def _malformed_header() -> Fault:
    return _incomplete('the Authorization header is malformed')


def _incomplete(reason: str) -> Fault:
    return Fault('IncompleteSignature', f'The signature is invalid: {reason}.')
