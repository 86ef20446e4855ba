# SPDX-License-Identifier: Apache-2.0
"""Secrets by which receivers verify webhooks, one per subscription.

:source: standardwebhooks.com
"""

from __future__ import annotations

import base64

#: Option of a subscription that holds its secret; only its creation shows it.
OPTION = '_signing_secret'

_PREFIX = 'whsec_'


def key(secret: str) -> bytes:
    """Return the key that a secret stands for, as the public libraries do.

    :param secret: base64, with or without ``whsec_`` before it
    :raises ValueError: it is not, or is empty
    """
    text = secret.removeprefix(_PREFIX)
    found = base64.b64decode(text, validate=True)
    # Libraries differ in what else they read: only what all of them read
    # alike is a secret.
    if not found or base64.b64encode(found).decode() != text:
        raise ValueError('not base64')
    return found


def is_malformed(secret: str) -> bool:
    """Tell whether a text begins as a secret and does not go on as one."""
    if not secret.startswith(_PREFIX):
        return False
    try:
        key(secret)
    except ValueError:
        return True
    return False
