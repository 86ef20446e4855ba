# SPDX-License-Identifier: Apache-2.0
"""Errors of operations, as clients of Amazon SQS see them."""

from __future__ import annotations

import pytest

from zaqar import errors
from zaqar.transport.sqs import faults


@pytest.mark.parametrize(
    ('error', 'name', 'status', 'after'),
    [
        (errors.Forbidden(), 'AccessDenied', 403, None),
        (errors.NotFound('no'), 'QueueDoesNotExist', 400, None),
        (errors.QueueFull(1, 1), 'OverLimit', 403, None),
        (
            errors.QuotaExceeded('p', 'queues', 1, 1),
            'OverLimit',
            403,
            None,
        ),
        (
            errors.RateExceeded('no', headers={'Retry-After': '2'}),
            'RequestThrottled',
            429,
            '2000',
        ),
        (errors.StoreUnavailable(), 'ServiceUnavailable', 503, '5000'),
        (errors.InvalidBody('no'), 'InvalidParameterValue', 400, None),
        (errors.ZaqarError('no'), 'InternalError', 500, None),
    ],
)
def test_an_error_has_a_name_and_says_when_to_try_again(
    error: errors.ZaqarError, name: str, status: int, after: str | None
) -> None:
    fault = faults.of(error)
    assert (fault.name, fault.status) == (name, status)
    assert fault.headers.get('x-amz-retry-after') == after
