# SPDX-License-Identifier: Apache-2.0
r"""Decode documents whose bodies contain lone escaped surrogates.

``"\ud800"`` is valid JSON, and clients may expect it back as they sent it,
but no decoder that yields valid text accepts it; msgspec rejects it even in a
part it need not decode. Such a body is rare. A post with one, or its notice,
is decoded as a copy in which every surrogate is replaced by a harmless escape
of the same length, and the bodies are then cut out of the original.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

T = TypeVar('T')

_ESCAPE = re.compile(rb'\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)', re.DOTALL)
#: Members of messages that are cut out of the original.
_MEMBERS = frozenset(('body', 'attributes'))

_SPACE = re.compile(r'[ \t\n\r]*')


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


_JSON = json.JSONDecoder(parse_constant=_refuse)


def decode(raw: bytes, decoder: Callable[[bytes], T]) -> T:
    """Decode a document whose bodies may contain lone surrogates.

    :param decoder: decodes one without, to an object whose ``messages``, if
        it has any, have a raw ``body`` and perhaps ``attributes``, which are
        those of the original; its errors are passed on
    """
    harmless = _ESCAPE.sub(_harmless, raw)
    document = decoder(harmless)
    messages = getattr(document, 'messages', None)
    if harmless == raw or not messages:
        return document
    for message, originals in zip(messages, _originals(raw), strict=True):
        for name, text in originals.items():
            # Not what a version of the API does not have.
            if isinstance(getattr(message, name, None), msgspec.Raw):
                setattr(message, name, msgspec.Raw(text))
    return document


def members(raw: bytes) -> dict[str, bytes]:
    """Return the text of each member of an object, by name.

    :raises ValueError: it is no JSON, or no object
    :raises IndexError: it ends too early
    :raises RecursionError: it is nested too deep
    """
    text = raw.decode()
    document = _JSON.decode(text)
    if not isinstance(document, dict):
        raise ValueError('no object')
    return {
        name: text[slice(*span)].encode() for name, span in _members(text, 0)
    }


def _harmless(escape: re.Match[bytes]) -> bytes:
    return b'\\u0020' if len(escape[0]) == 6 else escape[0]


def _originals(raw: bytes) -> Iterator[dict[str, bytes]]:
    """Yield the texts of members of each message, by their names."""
    text = raw.decode()
    document = dict(_members(text, 0))
    for start in _items(text, document['messages'][0]):
        yield {
            name: text[slice(*span)].encode()
            for name, span in _members(text, start)
            if name in _MEMBERS
        }


def _members(text: str, at: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield name and span of each member of the object at an offset."""
    at = _skip(text, _skip(text, at) + 1)
    while text[at] != '}':
        name, at = _JSON.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        end = _JSON.raw_decode(text, start)[1]
        yield name, (start, end)
        at = _next(text, end)


def _items(text: str, at: int) -> Iterator[int]:
    """Yield the offset of each item of the array at an offset."""
    at = _skip(text, at + 1)
    while text[at] != ']':
        yield at
        at = _next(text, _JSON.raw_decode(text, at)[1])


def _next(text: str, end: int) -> int:
    at = _skip(text, end)
    return _skip(text, at + 1) if text[at] == ',' else at


def _skip(text: str, at: int) -> int:
    blank = _SPACE.match(text, at)
    return blank.end() if blank else at
