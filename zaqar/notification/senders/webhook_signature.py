# SPDX-License-Identifier: Apache-2.0
"""Signatures of webhooks.

:source: standardwebhooks.com
"""

import base64
import functools
import hmac

from zaqar.controllers import webhook_secret_format


@functools.lru_cache(1000)
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
    digest = hmac.digest(key(secret), text, 'sha256')
    return f'v1,{base64.b64encode(digest).decode()}'
