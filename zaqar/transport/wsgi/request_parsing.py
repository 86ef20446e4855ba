# SPDX-License-Identifier: Apache-2.0
"""Reading a request: checks of its headers, its query and its body."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs

from webob import acceptparse

from zaqar.api.dispatch import Received
from zaqar.api.operation import Body
from zaqar.errors import (
    InvalidBody,
    InvalidRequest,
    LengthRequired,
    NotAcceptable,
    UnsupportedMediaType,
)
from zaqar.transport.wsgi.responses import JSON
from zaqar.transport.wsgi_types import Environ

_FORM = 'application/x-www-form-urlencoded'

#: Spellings of ``Accept`` that need no parsing.
_ACCEPTED = frozenset(('', '*/*', JSON))

_OFFERS = (JSON, f'{JSON};charset=utf-8', 'application/json-home')

_ANYTHING = ('application/x-anything',)

#: Bytes read at a time of a body whose length is not told.
_CHUNK = 65536

#: Seconds that uWSGI waits for a chunk.
_CHUNK_TIMEOUT = 10


def check_form(environ: Environ) -> None:
    """Refuse bodies that a browser's form would send.

    :raises InvalidRequest: it is one
    """
    if (
        environ.get('CONTENT_TYPE', '').lower() == _FORM
        and environ.get('CONTENT_LENGTH', '') != ''
    ):
        raise InvalidRequest(
            f'Endpoint does not accept `{_FORM}` content; currently supported '
            f'media type is `{JSON}`; specify proper client-side media type '
            'with the "Content-Type" header.',
            title='Invalid Content-Type',
        )


def check_accept(environ: Environ) -> None:
    """Refuse callers who would not take JSON.

    :raises NotAcceptable: it is one
    """
    accept = environ.get('HTTP_ACCEPT', '')
    if accept in _ACCEPTED:
        return
    header = acceptparse.create_accept_header(accept)
    found = [offer for offer, _ in header.acceptable_offers(_OFFERS)]
    # A wildcard would let in the others where JSON itself has "q=0".
    excluded = JSON not in found and header.acceptable_offers(_ANYTHING)
    if not found or excluded:
        raise NotAcceptable(
            f'The service answers in {JSON} only.', headers={'Vary': 'Accept'}
        )


def query(environ: Environ) -> Mapping[str, Sequence[str]]:
    """Return the query, each name with all its values."""
    text = environ.get('QUERY_STRING', '')
    return parse_qs(text, keep_blank_values=True) if text else {}


def read_body(environ: Environ, body: Body, most: int) -> Received | None:
    """Return the body, or None if there is none.

    No more than needed to see that it is too long is read.

    :param most: bytes that are of interest
    :raises UnsupportedMediaType: the operation wants another type
    :raises InvalidBody: it is shorter than announced
    """
    _check_media_type(environ, body)
    length = _length(environ)
    if length is None:
        found = _read_chunked(environ, most)
        return None if found is None else Received(found, len(found))
    if length > most:
        raise body.too_large(most)
    raw: bytes = environ['wsgi.input'].read(length) if length else b''
    if len(raw) < length:
        raise InvalidBody('Request body is shorter than its Content-Length.')
    return Received(raw, length)


def _length(environ: Environ) -> int | None:
    text = environ.get('CONTENT_LENGTH', '')
    if text == '':
        return None
    if not (text.isascii() and text.isdigit()):
        raise InvalidBody('Content-Length must be a number.')
    return int(text)


def _read_chunked(environ: Environ, most: int) -> bytes | None:
    """Read a body that says itself where it ends.

    :raises LengthRequired: the server does not hand it over
    """
    if 'chunked' not in environ.get('HTTP_TRANSFER_ENCODING', '').lower():
        return None
    read = _chunks(environ)
    parts: list[bytes] = []
    left = most + 1
    while left > 0:
        part = read(min(left, _CHUNK))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b''.join(parts)


def _chunks(environ: Environ) -> Callable[[int], bytes]:
    """Return what reads the next bytes, none at the end."""
    if environ.get('wsgi.input_terminated'):
        read: Callable[[int], bytes] = environ['wsgi.input'].read
        return read
    if 'uwsgi.version' not in environ:
        # To read on would be to wait for the next request.
        raise LengthRequired('The web server takes no chunked bodies.')
    # There is such a module inside uWSGI alone. A chunk may be longer than
    # what is left, which is too long by then.
    chunked_read = importlib.import_module('uwsgi').chunked_read

    def next_chunk(_most: int) -> bytes:
        try:
            return bytes(chunked_read(_CHUNK_TIMEOUT))
        except OSError:
            raise LengthRequired(
                'The chunked body could not be read. uWSGI needs '
                '"http-chunked-input = true" for its "http" option.'
            ) from None

    return next_chunk


def _check_media_type(environ: Environ, body: Body) -> None:
    wanted = body.media_type
    if wanted is not None and environ.get('CONTENT_TYPE') != wanted:
        accepted = {'Accept-Patch': wanted}
        raise UnsupportedMediaType(
            f'Accepted media type for PATCH: {accepted}.', headers=accepted
        )
