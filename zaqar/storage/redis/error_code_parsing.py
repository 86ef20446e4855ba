# SPDX-License-Identifier: Apache-2.0
"""Codes of errors that a server answers with, or a script ends with."""

import re
from collections.abc import Sequence
from typing import Any

from redis import exceptions

#: Codes that errors begin with, where the client library strips them.
_CODES: Sequence[tuple[type[Exception], str]] = (
    (exceptions.MovedError, 'MOVED'),
    (exceptions.AskError, 'ASK'),
    (exceptions.NoScriptError, 'NOSCRIPT'),
    (exceptions.ReadOnlyError, 'READONLY'),
    (exceptions.TryAgainError, 'TRYAGAIN'),
    (exceptions.ClusterDownError, 'CLUSTERDOWN'),
    (exceptions.MasterDownError, 'MASTERDOWN'),
    (exceptions.BusyLoadingError, 'LOADING'),
    (exceptions.AuthenticationError, 'NOAUTH'),
    (exceptions.NoPermissionError, 'NOPERM'),
    (exceptions.OutOfMemoryError, 'OOM'),
)

_SCRIPT_ERROR = re.compile(r'Error running script.*: -([A-Z]+) ', re.DOTALL)


def error_code(answer: Any) -> str:
    """Return the code that an error begins with, '' for other answers."""
    if not isinstance(answer, exceptions.RedisError):
        return ''
    for kind, code in _CODES:
        if isinstance(answer, kind):
            return code
    # Redis 6 wraps the errors of a script's commands in one of its own.
    inner = _SCRIPT_ERROR.search(str(answer))
    if inner:
        return inner[1]
    words = str(answer).split()
    return words[0] if words else 'ERR'
