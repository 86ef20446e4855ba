# SPDX-License-Identifier: Apache-2.0
"""Data of records, which the drivers here encode alike."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

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
