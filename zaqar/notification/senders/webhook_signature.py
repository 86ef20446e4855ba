# SPDX-License-Identifier: Apache-2.0
"""Signatures of webhooks.

:source: standardwebhooks.com
"""

import base64
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

from zaqar.controllers import webhook_secret_format

#: Bytes of a block of SHA-256.
_BLOCK = 64


def key(secret: str) -> bytes:
    """Return the key of a secret.

    Operators may configure any text, and old subscriptions have any: what is
    not base64 is the key itself.
    """
    try:
        return webhook_secret_format.key(secret)
    except ValueError:
        return secret.encode()


def signature(secret: str, name: str, seconds: int, body: bytes) -> str:
    """Return the value of ``Webhook-Signature``.

    :param name: the value of ``Webhook-Id``
    :param seconds: the value of ``Webhook-Timestamp``
    """
    text = b'.'.join((name.encode(), str(seconds).encode(), body))
    inner, outer = (half.copy() for half in _halves(secret))
    inner.update(text)
    outer.update(inner.digest())
    return f'v1,{base64.b64encode(outer.digest()).decode()}'


@functools.lru_cache(1000)
def _halves(secret: str) -> Sequence[Any]:
    """Return the beginnings of both hashes of HMAC.

    With them a short text takes half as long, and no other thread gets a turn
    in between, as in :func:`hmac.digest`.
    """
    block = key(secret)
    if len(block) > _BLOCK:
        block = hashlib.sha256(block).digest()
    block = block.ljust(_BLOCK, b'\0')
    return [
        hashlib.sha256(bytes(byte ^ pad for byte in block))
        for pad in (0x36, 0x5C)
    ]
