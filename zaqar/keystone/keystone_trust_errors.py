# SPDX-License-Identifier: Apache-2.0
"""What Keystone's refusals of a trust mean, and what callers are shown."""

import re

from keystoneauth1 import exceptions

from zaqar.controllers.trust_interface import TrustRefused

#: Statuses after which the same request may succeed later.
_TRANSIENT = frozenset((408, 409, 429))

#: Ids, which error texts of Keystone may hold.
_ID = re.compile(r'\b[0-9a-f]{32}\b')


def is_final(error: exceptions.ClientException) -> bool:
    """Return whether the same request would fail again."""
    status = getattr(error, 'http_status', 0)
    return 400 <= status < 500 and status not in _TRANSIENT


def refusal(error: exceptions.ClientException) -> TrustRefused:
    """Return a refusal of Keystone as an error for the caller."""
    reason = without_ids(error).partition(' (HTTP ')[0]
    return TrustRefused(f'The identity service has refused a trust: {reason}')


def without_ids(error: exceptions.ClientException) -> str:
    """Return the text of an error without ids, which may be of trusts."""
    return _ID.sub('...', str(error))
