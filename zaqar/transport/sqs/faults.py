# SPDX-License-Identifier: Apache-2.0
"""Errors of Amazon SQS, by both names that clients know them by."""

from collections.abc import Mapping, Set

from zaqar.errors import (
    Forbidden,
    NotFound,
    QueueFull,
    QuotaExceeded,
    ZaqarError,
)

_PREFIX = 'AWS.SimpleQueueService.'

#: Errors whose code is not their name.
CODES: Mapping[str, str] = {
    'QueueDoesNotExist': f'{_PREFIX}NonExistentQueue',
    'QueueNameExists': 'QueueAlreadyExists',
    **{
        name: f'{_PREFIX}{name}'
        for name in (
            'BatchEntryIdsNotDistinct',
            'BatchRequestTooLong',
            'EmptyBatchRequest',
            'InvalidBatchEntryId',
            'MessageNotInflight',
            'TooManyEntriesInBatchRequest',
            'UnsupportedOperation',
        )
    },
}

_STATUSES: Mapping[str, int] = {
    'AccessDenied': 403,
    'InternalError': 500,
    'InvalidClientTokenId': 403,
    'MissingAuthenticationToken': 403,
    'OverLimit': 403,
    'RequestExpired': 403,
    'RequestThrottled': 429,
    'RequestTimeTooSkewed': 403,
    'ServiceUnavailable': 503,
    'SignatureDoesNotMatch': 403,
}

#: Seconds after which clients are to try again, unless the error says it.
RETRY_AFTER = 5

#: Statuses of answers after which they may.
TRY_AGAIN = (429, 503)


class Fault(Exception):
    """An error response.

    :ivar name: that of its shape
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f'{name}: {message}')
        self.name = name
        self.message = message
        self.retry_after: int | None = None

    @property
    def code(self) -> str:
        """The name in the Query protocol, which clients show."""
        return CODES.get(self.name, self.name)

    @property
    def status(self) -> int:
        return _STATUSES.get(self.name, 400)

    @property
    def is_senders(self) -> bool:
        return self.status < 500

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a response for clients that may try again."""
        if self.status not in TRY_AGAIN:
            return {}
        seconds = self.retry_after or RETRY_AFTER
        return {
            'Retry-After': str(seconds),
            'x-amz-retry-after': str(seconds * 1000),
        }


def of(error: ZaqarError, *, invalid: str = 'InvalidParameterValue') -> Fault:
    """Return the error of Amazon SQS for one of an operation.

    :param invalid: the name for bad input
    """
    message = error.description or error.title
    if isinstance(error, Forbidden):
        return Fault('AccessDenied', message)
    if isinstance(error, NotFound):
        return Fault('QueueDoesNotExist', message)
    if isinstance(error, QueueFull | QuotaExceeded):
        return Fault('OverLimit', message)
    if error.status in TRY_AGAIN:
        fault = Fault(
            'RequestThrottled'
            if error.status == 429
            else 'ServiceUnavailable',
            message,
        )
        seconds = error.headers.get('Retry-After', '')
        fault.retry_after = int(seconds) if seconds.isdecimal() else None
        return fault
    if error.status >= 500:
        return Fault('InternalError', message)
    return Fault(invalid, message)


def missing(name: str) -> Fault:
    """Return the error for a request without a parameter."""
    return Fault(
        'MissingParameter', f'The request must contain the parameter {name}.'
    )


def invalid(name: str, reason: str) -> Fault:
    """Return the error for a parameter with a wrong value."""
    return Fault(
        'InvalidParameterValue',
        f'The value of parameter {name} is invalid. Reason: {reason}',
    )


def check_attributes(names: Set[str], known: Set[str]) -> None:
    """Check that there are attributes of these names.

    :raises Fault: there is none of one
    """
    if unknown := names - known:
        raise Fault(
            'InvalidAttributeName', f'Unknown Attribute {min(unknown)}.'
        )
