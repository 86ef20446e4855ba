# SPDX-License-Identifier: Apache-2.0
"""The format of secrets by which receivers verify webhooks.

:source: standardwebhooks.com
"""

import base64

#: Option of a subscription with its secret, which no response shows.
OPTION = '_signing_secret'

PREFIX = 'whsec_'


def key(secret: str) -> bytes:
    """Return the key of a secret, as the public libraries do.

    :param secret: base64, with or without ``whsec_`` before it
    :raises ValueError: it is malformed or empty
    """
    text = secret.removeprefix(PREFIX)
    decoded = base64.b64decode(text, validate=True)
    # Libraries differ in what else they accept.
    if not decoded or base64.b64encode(decoded).decode() != text:
        raise ValueError('not base64')
    return decoded


def is_malformed(secret: str) -> bool:
    """Return whether a text has the prefix of a secret, but is none."""
    if not secret.startswith(PREFIX):
        return False
    try:
        key(secret)
    except ValueError:
        return True
    return False
