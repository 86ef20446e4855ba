# SPDX-License-Identifier: Apache-2.0
"""Attributes of queues as metadata, and numbers of parameters."""

from __future__ import annotations

import pytest

from zaqar.transport.sqs import (
    parameter_ranges,
    queue_attributes_as_metadata,
    queue_urls_arns_and_receipts,
)
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.parameter_ranges import Range


def _own(queue: queue_urls_arns_and_receipts.QueueName) -> str:
    return queue.name


@pytest.mark.parametrize(
    ('attributes', 'is_encrypted'),
    [
        ({'SqsManagedSseEnabled': 'true'}, True),
        ({'SqsManagedSseEnabled': 'false'}, False),
        ({'KmsMasterKeyId': 'alias/aws/sqs'}, True),
    ],
)
def test_encryption_is_that_of_the_queue(
    attributes: dict[str, str], is_encrypted: bool
) -> None:
    metadata = queue_attributes_as_metadata.to_metadata(attributes, _own, {})
    assert metadata == {'_enable_encrypt_messages': is_encrypted}
    present = {
        **dict.fromkeys(('_default_claim_ttl', '_default_message_ttl'), 60),
        **dict.fromkeys(('_default_message_delay', '_default_wait'), 0),
        '_max_messages_post_size': 1024,
    }
    shown = queue_attributes_as_metadata.shown(
        {**present, **metadata}, str, 'q'
    )
    assert shown['SqsManagedSseEnabled'] == str(is_encrypted).lower()


@pytest.mark.parametrize(
    ('range_', 'least', 'most'),
    [
        (parameter_ranges.VISIBILITY, 0, 43_200),
        (parameter_ranges.WAIT, 0, 20),
        (parameter_ranges.DELAY, 0, 900),
        (parameter_ranges.RECEIVED, 1, 10),
        (parameter_ranges.QUEUES, 1, 1000),
        (parameter_ranges.TASKS, 1, 10),
        (parameter_ranges.RATE, 1, 500),
    ],
)
def test_numbers_have_both_ends(range_: Range, least: int, most: int) -> None:
    for fine in (None, least, most):
        range_.check(fine)
    for wrong in (least - 1, most + 1):
        with pytest.raises(Fault, match=range_.name):
            range_.check(wrong)
