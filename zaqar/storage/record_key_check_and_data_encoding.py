# SPDX-License-Identifier: Apache-2.0
"""Keys and data of records, which the drivers here check and encode alike."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

#: Characters of the parent and of the name of a record, at most.
MAX_PARENT, MAX_NAME = 400, 128

_decode = msgspec.json.Decoder().decode


def encode(data: Mapping[str, Any]) -> str:
    """Return JSON text.

    ASCII only: a client's text may hold unpaired surrogates, which have no
    UTF-8.
    """
    return json.dumps(dict(data), allow_nan=False, separators=(',', ':'))


def decode(text: str | bytes) -> Any:
    """Return what was encoded."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        # Half a surrogate pair, for which the faster decoder has no place.
        return json.loads(text)


def check_key(parent: str, name: str) -> None:
    """Refuse a key that not every store would take.

    :raises ValueError: it is too long
    """
    if len(parent) > MAX_PARENT or len(name) > MAX_NAME:
        raise ValueError('the key of a record is too long')
