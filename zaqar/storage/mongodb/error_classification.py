# SPDX-License-Identifier: Apache-2.0
"""Classification of the errors of the client library."""

from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from zaqar.errors import StoreUnavailable

#: Error codes of a refused login or of missing permissions.
_REFUSED = {13, 18, 8000}
_UNKNOWN_COMMAND = 59
_DUPLICATE = 11000

#: Error codes of servers that do not label what another try may mend.
_RETRIABLE = {
    6,  # HostUnreachable, by mongos
    7,  # HostNotFound, by mongos
    43,  # CursorNotFound: the server was restarted
    89,  # NetworkTimeout, by mongos
    112,  # WriteConflict
    134,  # ReadConcernMajorityNotAvailableYet: it has just started
    202,  # NetworkInterfaceExceededTimeLimit, by mongos
    237,  # CursorKilled
    262,  # ExceededTimeLimit
    365,  # TemporarilyUnavailable: its cache is full
    9001,  # SocketException, by mongos
    11601,  # Interrupted: another process has killed the session
}
_TRANSIENT = 'TransientTransactionError'


def is_unknown_command(error: PyMongoError) -> bool:
    return _has_code(error, _UNKNOWN_COMMAND)


def is_duplicate(error: PyMongoError) -> bool:
    """Tell whether a write met an existing key."""
    return _has_code(error, _DUPLICATE)


def _has_code(error: PyMongoError, code: int) -> bool:
    if isinstance(error, OperationFailure) and error.code == code:
        return True
    details = getattr(error, 'details', None) or {}
    return any(
        item.get('code') == code for item in details.get('writeErrors', ())
    )


def is_unreachable(error: PyMongoError) -> bool:
    """Tell whether no server was available for the whole time-out."""
    return isinstance(error, ServerSelectionTimeoutError)


def is_transient(error: PyMongoError) -> bool:
    """Tell whether another try may succeed."""
    if isinstance(error, AutoReconnect):
        return True
    if error.has_error_label(_TRANSIENT) or error.has_error_label(
        'RetryableWriteError'
    ):
        return True
    return any(_has_code(error, code) for code in _RETRIABLE)


def translate(error: PyMongoError) -> BaseException:
    """Return the error that callers of a store get."""
    if (
        error.timeout
        or is_transient(error)
        or is_refusal(error)
        or isinstance(error, (ConnectionFailure, WriteConcernError))
        or _has_concern_errors(error)
    ):
        return StoreUnavailable()
    return error


def _has_concern_errors(error: PyMongoError) -> bool:
    details = getattr(error, 'details', None) or {}
    return bool(details.get('writeConcernErrors'))


def is_refusal(error: BaseException | None) -> bool:
    """Tell whether the server refused the login or a command."""
    return isinstance(error, OperationFailure) and error.code in _REFUSED


def startup_error(error: BaseException | None) -> str:
    """Return an error as one line for the operator."""
    text = str(error).split(', full error')[0].split(', Timeout:')[0]
    return f'the server is of no use: {" ".join(text.split())}'
