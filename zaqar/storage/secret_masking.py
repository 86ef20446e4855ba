# SPDX-License-Identifier: Apache-2.0
"""Mask secrets in URIs and options, wherever people may read them.

Each driver parses URIs by rules of its own, and reads a password with a
reserved character differently. Hence more is masked than any of them would
take for a secret.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

MASK = '***'

_SECRET = re.compile(
    r'passw|pwd|secret|token|credential|key|authmechanismproperties',
    re.IGNORECASE,
)
_RESERVED = re.compile(r'[@:/?#\[\]&;=]')
_SCHEME = re.compile(r'[A-Za-z][\w+.-]*://')

Span = tuple[int, int]


def is_secret(name: str) -> bool:
    """Tell whether an option of this name may hold a secret."""
    return bool(_SECRET.search(unquote_plus(name)))


def mask(uri: str) -> str:
    """Return a URI, well-formed or not, without passwords."""
    parts, at = [], 0
    for start, end in _spans(uri):
        parts += [uri[at:start], MASK]
        at = end
    return ''.join([*parts, uri[at:]])


def mask_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a pool without secrets, however deep."""
    return {
        name: MASK if is_secret(name) else _masked(value)
        for name, value in options.items()
    }


def scrub(text: str, uri: str) -> str:
    """Return a message about a URI without the URI's secrets.

    Their parts are removed, too: a parser may complain of half a password.
    """
    text = text.replace(uri, mask(uri))
    secrets = {uri[start:end] for start, end in _spans(uri)}
    parts = {part for secret in secrets for part in _RESERVED.split(secret)}
    # Any message contains one or two letters.
    hidden = secrets | {part for part in parts if len(part) > 2}
    hidden |= {unquote(secret) for secret in hidden}
    # The longest first: one may be a part of another.
    for secret in sorted(hidden - {''}, key=len, reverse=True):
        text = re.sub(rf'(?<!\w){re.escape(secret)}(?!\w)', MASK, text)
    return text


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return mask_options(value)
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if isinstance(value, str) and _SCHEME.match(value):
        return mask(value)
    return value


def _spans(uri: str) -> list[Span]:
    """Return where secrets are, in order and without overlap."""
    merged: list[Span] = []
    for start, end in sorted([*_password(uri), *_options(uri)]):
        if merged and start <= merged[-1][1]:
            start, end = merged[-1][0], max(end, merged[-1][1])
            merged.pop()
        merged.append((start, end))
    return merged


def _password(uri: str) -> Iterator[Span]:
    """Yield what stands between the user and the last at sign."""
    end = uri.rfind('@')
    if end < 0:
        return
    scheme = _SCHEME.match(uri)
    start = scheme.end() if scheme else 0
    if scheme is None:
        yield (0, end)
    elif ':' in uri[start:end]:
        yield (uri.index(':', start) + 1, end)


def _options(uri: str) -> Iterator[Span]:
    """Yield the values of options that may hold secrets."""
    at = uri.find('?')
    while at >= 0:
        start, at = at + 1, uri.find('&', at + 1)
        end = at if at >= 0 else len(uri)
        name, equals, value = uri[start:end].partition('=')
        # A value may hold further options, for who splits at semicolons.
        while equals and not is_secret(name):
            start += len(name) + 1
            name, equals, value = value.partition('=')
        if not equals:
            continue
        # What has no name is the rest of a value with an ampersand in it.
        while at >= 0 and '=' not in _until(uri, at + 1):
            at = uri.find('&', at + 1)
            end = at if at >= 0 else len(uri)
        yield (start + len(name) + 1, end)


def _until(uri: str, start: int) -> str:
    """Return what stands before the next ampersand."""
    return uri[start:].partition('&')[0]
