# SPDX-License-Identifier: Apache-2.0
"""Checks of the headers of requests, and reading of their query and body."""

import functools
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
ACCEPTED = frozenset(('', '*/*', JSON))

_OFFERS = (JSON, f'{JSON};charset=utf-8', 'application/json-home')

_ANYTHING = ('application/x-anything',)

#: The query of a request without one.
NO_QUERY: Mapping[str, Sequence[str]] = {}

#: Characters of the longest query that is cached: callers choose it.
_USUAL_QUERY = 200

#: Items of a page, at least, where a query names no number of them.
_USUAL_ITEMS = 10

#: Digits of such a number that matter.
_DIGITS = 6

#: Bytes read at a time of a body without a length.
_CHUNK = 65536

#: Seconds that uWSGI waits for a chunk.
_CHUNK_TIMEOUT = 10


def refuse_form(environ: Environ) -> None:
    """Refuse the media type of HTML forms.

    :raises InvalidRequest: the body has it
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
    """Refuse requests that do not accept JSON.

    :raises NotAcceptable: JSON is not acceptable
    """
    accept = environ.get('HTTP_ACCEPT', '')
    if accept in ACCEPTED:
        return
    header = acceptparse.create_accept_header(accept)
    offers = [offer for offer, _ in header.acceptable_offers(_OFFERS)]
    # A wildcard would admit the other offers although JSON has "q=0".
    excluded = JSON not in offers and header.acceptable_offers(_ANYTHING)
    if not offers or excluded:
        raise NotAcceptable(
            f'The service answers in {JSON} only.', headers={'Vary': 'Accept'}
        )


def query(text: str) -> Mapping[str, Sequence[str]]:
    """Return a query, each name with all its values."""
    return (_cached_query if len(text) <= _USUAL_QUERY else _query)(text)


def _query(text: str) -> Mapping[str, Sequence[str]]:
    return parse_qs(text, keep_blank_values=True)


_cached_query = functools.lru_cache(maxsize=512)(_query)


def most_items(text: str) -> int:
    """Return how many items a page may have by its query, or more."""
    if not text:
        return _USUAL_ITEMS
    return (_cached_most_items if len(text) <= _USUAL_QUERY else _most_items)(
        text
    )


def _most_items(text: str) -> int:
    most = _USUAL_ITEMS
    for name, values in _query(text).items():
        for value in values:
            if name in ('limit', 'pop'):
                # What is no number, or a large one, is refused later.
                number = value if value.isdecimal() else '0'
                most = max(most, int(number[:_DIGITS]))
            elif name == 'ids':
                most = max(most, value.count(',') + 1)
    return most


_cached_most_items = functools.lru_cache(maxsize=512)(_most_items)


def read_body(environ: Environ, body: Body, most: int) -> Received | None:
    """Return the body, or None if there is none.

    :param most: its maximum size; one byte more is read at most
    :raises UnsupportedMediaType: the operation needs another type
    :raises InvalidBody: it is shorter than announced
    """
    if body.media_type is not None:
        _check_media_type(environ, body)
    text = environ.get('CONTENT_LENGTH', '')
    if text == '':
        content = _read_chunked(environ, most)
        return None if content is None else Received(content, len(content))
    # Among what WSGI passes, that of Latin-1, no others are decimal digits.
    if not text.isdecimal():
        raise InvalidBody('Content-Length must be a number.')
    length = int(text)
    if length > most:
        raise body.too_large(most)
    raw: bytes = environ['wsgi.input'].read(length) if length else b''
    if len(raw) < length:
        raise InvalidBody('Request body is shorter than its Content-Length.')
    return Received(raw, length)


def _read_chunked(environ: Environ, most: int) -> bytes | None:
    """Read a chunked body, None if the body is not chunked."""
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
    """Return a function that reads the next bytes, none at the end."""
    if environ.get('wsgi.input_terminated'):
        read: Callable[[int], bytes] = environ['wsgi.input'].read
        return read
    if 'uwsgi.version' not in environ:
        # Reading on would wait for the next request.
        raise LengthRequired('The web server takes no chunked bodies.')
    # The module exists inside uWSGI only. A chunk may be longer than the
    # maximum, which is noticed then.
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
