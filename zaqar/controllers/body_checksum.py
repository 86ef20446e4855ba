# SPDX-License-Identifier: Apache-2.0
"""Checksums of message bodies, for clients to verify."""

import hashlib
import json


def of(body: bytes) -> str | None:
    """Return the checksum of a JSON text, None for ``null``.

    It is that of the text that Python's ``json.dumps`` makes of the value, so
    that a client need not know how the sender formatted it.
    """
    value = json.loads(body)
    if value is None:
        return None
    text = json.dumps(value).encode()
    digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
    return f'MD5:{digest}'
