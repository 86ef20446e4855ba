# SPDX-License-Identifier: Apache-2.0
"""Posts that clients mark as repeatable, by the header ``Idempotency-Key``.

The key takes the place of the token by which a store recognizes a post, so it
costs no look-up of its own. A store stores a post in one step: there is no
moment at which one is under way, and of two at once the second waits for the
first.
"""

import hashlib
import re
from typing import Any

import msgspec

from zaqar.errors import InvalidRequest

#: The header, and that of the answer to a repetition.
HEADER = 'Idempotency-Key'
REPLAYED = 'Idempotency-Replayed'

#: Milliseconds for which a post is recognized.
LIFETIME = 86_400_000

#: Characters of a key, at most.
MAX_KEY = 255

_KEY = re.compile(f'[ -~]{{1,{MAX_KEY}}}')

_ENCODER = msgspec.json.Encoder()


def checked(value: Any) -> str:
    """Return the key that a header holds.

    :raises InvalidRequest: it is malformed
    """
    if isinstance(value, str):
        key = value.strip(' ')
        if _KEY.fullmatch(key):
            return key
    raise InvalidRequest(
        f'The header {HEADER} must hold 1 to {MAX_KEY} printable ASCII '
        'characters.'
    )


def token(key: str) -> str:
    """Return the token of the post with a key, which no other post has."""
    return f'k{hashlib.blake2b(key.encode(), digest_size=31).hexdigest()}'


def fingerprint(document: msgspec.Struct) -> str:
    """Return a text that differs for other messages.

    Bodies count to the byte; what is ignored around them does not.
    """
    encoded = _ENCODER.encode(document)
    return hashlib.blake2b(encoded, digest_size=32).hexdigest()
