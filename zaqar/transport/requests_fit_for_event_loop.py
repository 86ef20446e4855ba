# SPDX-License-Identifier: Apache-2.0
"""Requests that an event loop may answer itself, whatever the transport.

They do little, and call no service but the stores.
"""

import re

#: Bytes of the longest body of such a request: to check and store more takes
#: so long that the others would notice.
LONGEST_BODY = 64 * 1024

#: Objects of such a body, of which each message is at least one: thousands of
#: messages would fit into it.
MOST_OBJECTS = 64

_FITTING = re.compile(
    r'GET /v2/queues/[^/]+'
    r'|(GET|POST|DELETE) /v2/(queues|topics)/[^/]+/messages(/[^/]+)?'
    r'|(GET|POST|PATCH|DELETE) /v2/queues/[^/]+/claims(/[^/]+)?'
    r'|POST /v2/queues/[^/]+/claims/[^/]+/settle'
)


def is_fit(method: str, path: str) -> bool:
    """Tell whether requests of a path, or a template of one, are fit."""
    return _FITTING.fullmatch(f'{method} {path}') is not None
