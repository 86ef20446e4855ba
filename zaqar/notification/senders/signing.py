# SPDX-License-Identifier: Apache-2.0
"""Signatures of webhooks as receivers can verify them.

:source: standardwebhooks.com
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = 'whsec_'


def key(secret: str) -> bytes:
    """Return the key that a secret stands for.

    ``whsec_`` and base64, or any text as it is.
    """
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret[len(_PREFIX) :], validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def signature(secret: str, name: str, seconds: int, body: bytes) -> str:
    """Return the value of ``Webhook-Signature``.

    :param name: the value of ``Webhook-Id``
    :param seconds: the value of ``Webhook-Timestamp``
    """
    text = b'.'.join((name.encode(), str(seconds).encode(), body))
    digest = hmac.new(key(secret), text, hashlib.sha256).digest()
    return f'v1,{base64.b64encode(digest).decode()}'
