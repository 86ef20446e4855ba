# SPDX-License-Identifier: Apache-2.0
"""Attributes of queues, as metadata of ours.

A value of metadata that is None unsets its key.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from zaqar.controllers import allowed_dead_letter_sources, sqs_fifo_metadata
from zaqar.controllers.allowed_dead_letter_sources import Allowed
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.result_types import Counted
from zaqar.controllers.sqs_fifo_metadata import Fifo
from zaqar.transport.sqs import (
    faults,
    parameter_ranges,
    queue_urls_arns_and_receipts,
)
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.parameter_ranges import Range

Metadata = dict[str, Any]

#: Returns the resource name of a queue of the caller.
Arn = Callable[[str], str]

#: Returns the name of a queue of the caller.
Own = Callable[[queue_urls_arns_and_receipts.QueueName], str]


#: Key that AWS manages itself.
_DEFAULT_KEY = 'alias/aws/sqs'


class _Number(NamedTuple):
    key: str
    range: Range


_NUMBERS: Mapping[str, _Number] = {
    'VisibilityTimeout': _Number(
        '_default_claim_ttl', parameter_ranges.VISIBILITY
    ),
    'MessageRetentionPeriod': _Number(
        '_default_message_ttl', parameter_ranges.RETENTION
    ),
    'DelaySeconds': _Number('_default_message_delay', parameter_ranges.DELAY),
    'MaximumMessageSize': _Number(
        '_max_messages_post_size', parameter_ranges.MESSAGE_SIZE
    ),
    'ReceiveMessageWaitTimeSeconds': _Number(
        '_default_wait', parameter_ranges.WAIT
    ),
}

_RETENTION = 345_600

#: Attributes of FIFO queues by the members of their metadata.
_FIFO = {
    'ContentBasedDeduplication': 'content_based',
    'DeduplicationScope': 'scope',
    'FifoThroughputLimit': 'limit',
}

_JSON = frozenset(('RedrivePolicy', 'RedriveAllowPolicy'))

_COUNT = re.compile('0*[1-9][0-9]{0,3}')

_ENCRYPTION = frozenset(('SqsManagedSseEnabled', 'KmsMasterKeyId'))

_SETTABLE = frozenset(
    (
        *_NUMBERS,
        *_FIFO,
        *_JSON,
        *_ENCRYPTION,
        *('FifoQueue', 'Policy', 'KmsDataKeyReusePeriodSeconds'),
    )
)

COUNTS = frozenset(
    (
        'ApproximateNumberOfMessages',
        'ApproximateNumberOfMessagesNotVisible',
        'ApproximateNumberOfMessagesDelayed',
        'CreatedTimestamp',
        'LastModifiedTimestamp',
    )
)

KNOWN = _SETTABLE | COUNTS | {'QueueArn'}

ALL = 'All'


def defaults(name: str, limits: Limits) -> Metadata:
    """Return the metadata of a new queue without attributes."""
    fields: Metadata = {
        '_default_claim_ttl': 30,
        '_default_message_ttl': min(_RETENTION, limits.max_message_ttl),
        '_default_message_delay': 0,
    }
    if name.endswith(queue_urls_arns_and_receipts.FIFO):
        fields[sqs_fifo_metadata.METADATA] = msgspec.to_builtins(Fifo())
    return fields


def to_metadata(
    attributes: Mapping[str, str],
    own: Own,
    present: Mapping[str, Any],
) -> Metadata:
    """Return the metadata that attributes stand for.

    :param present: that of the queue so far
    :raises Fault: one is unknown, or has a wrong value
    """
    faults.check_attributes(attributes.keys(), _SETTABLE)
    fields: Metadata = {}
    for name, value in attributes.items():
        if name in _NUMBERS:
            fields[_NUMBERS[name].key] = _number(name, value)
    if 'RedrivePolicy' in attributes:
        fields |= _redrive_policy(attributes['RedrivePolicy'], own)
    if 'RedriveAllowPolicy' in attributes:
        fields[allowed_dead_letter_sources.ALLOW] = _allowed(
            attributes['RedriveAllowPolicy'], own
        )
    fifo = {
        _FIFO[name]: attributes[name] for name in _FIFO if name in attributes
    }
    if fifo:
        fields[sqs_fifo_metadata.METADATA] = _fifo(fifo, present)
    fields |= _encryption(attributes)
    if attributes.get('Policy'):
        raise _refused('Policy', 'there are no policies of queues here')
    return fields


def check_fifo(name: str, attributes: Mapping[str, str]) -> None:
    """Check that name and attributes agree on what a new queue is.

    :raises Fault: they do not
    """
    is_fifo = name.endswith(queue_urls_arns_and_receipts.FIFO)
    value = attributes.get('FifoQueue', 'false')
    if is_fifo != _flag('FifoQueue', value):
        raise Fault(
            'InvalidParameterValue',
            f'The name of a FIFO queue, and of no other, ends with '
            f'{queue_urls_arns_and_receipts.FIFO}, and its attribute '
            'FifoQueue is true.',
        )


def shown(metadata: Mapping[str, Any], arn: Arn, name: str) -> dict[str, str]:
    """Return the attributes that metadata stands for."""
    attributes = {
        attribute: str(metadata[number.key])
        for attribute, number in _NUMBERS.items()
    }
    attributes['QueueArn'] = arn(name)
    letters = metadata.get('_dead_letter_queue')
    if letters and metadata.get('_max_claim_count'):
        attributes['RedrivePolicy'] = _text(
            {
                'deadLetterTargetArn': arn(letters),
                'maxReceiveCount': metadata['_max_claim_count'],
            }
        )
    allowed = read_metadata(
        metadata.get(allowed_dead_letter_sources.ALLOW), Allowed
    )
    if allowed is not None:
        policy: dict[str, Any] = {'redrivePermission': allowed.permission}
        if allowed.sources:
            policy['sourceQueueArns'] = [*map(arn, allowed.sources)]
        attributes['RedriveAllowPolicy'] = _text(policy)
    attributes['SqsManagedSseEnabled'] = _bool(
        bool(metadata.get('_enable_encrypt_messages'))
    )
    fifo = read_metadata(metadata.get(sqs_fifo_metadata.METADATA), Fifo)
    if fifo is not None:
        attributes |= {
            'FifoQueue': 'true',
            'ContentBasedDeduplication': _bool(fifo.content_based),
            'DeduplicationScope': fifo.scope,
            'FifoThroughputLimit': fifo.limit,
        }
    return attributes


def counts(counted: Counted) -> dict[str, str]:
    """Return the attributes that statistics stand for."""
    stats = counted.stats
    numbers = {
        'ApproximateNumberOfMessages': stats.free - stats.delayed,
        'ApproximateNumberOfMessagesNotVisible': stats.claimed,
        'ApproximateNumberOfMessagesDelayed': stats.delayed,
        'CreatedTimestamp': counted.created_at // 1000,
        'LastModifiedTimestamp': counted.changed_at // 1000,
    }
    return {name: str(number) for name, number in numbers.items()}


def _number(name: str, value: str) -> int:
    _, least, most = _NUMBERS[name].range
    is_number = value.isascii() and value.isdigit() and len(value) < 10
    if not is_number or not least <= int(value) <= most:
        raise _refused(name, f'it is an integer of {least} to {most}')
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in ('true', 'false'):
        raise _refused(name, 'it is "true" or "false"')
    return value == 'true'


def _redrive_policy(text: str, own: Own) -> Metadata:
    policy = _parsed('RedrivePolicy', text)
    if policy is None:
        return {'_dead_letter_queue': None, '_max_claim_count': None}
    target = policy.get('deadLetterTargetArn')
    count = str(policy.get('maxReceiveCount'))
    if not (_COUNT.fullmatch(count) and int(count) <= 1000):
        raise _refused(
            'RedrivePolicy', 'maxReceiveCount is an integer of 1 to 1000'
        )
    return {
        '_dead_letter_queue': _target('RedrivePolicy', target, own),
        '_max_claim_count': int(count),
    }


def _allowed(text: str, own: Own) -> Metadata | None:
    name = 'RedriveAllowPolicy'
    policy = _parsed(name, text)
    if policy is None:
        return None
    sources = policy.get('sourceQueueArns', [])
    if not isinstance(sources, list):
        raise _refused(name, 'sourceQueueArns is a list')
    permission = policy.get('redrivePermission')
    if (permission == 'byQueue') != bool(sources) or len(sources) > 10:
        raise _refused(
            name, 'byQueue, and no other permission, has 1 to 10 sources'
        )
    fields: Metadata = {
        'permission': permission,
        'sources': [_target(name, source, own) for source in sources],
    }
    if allowed_dead_letter_sources.fault(fields) is not None:
        raise _refused(
            name, 'redrivePermission is allowAll, denyAll or byQueue'
        )
    return fields


def _target(name: str, text: Any, own: Own) -> str:
    queue = (
        queue_urls_arns_and_receipts.of_arn(text)
        if isinstance(text, str)
        else None
    )
    if queue is None:
        raise _refused(name, f'{text} is no resource name of a queue')
    return own(queue)


def _fifo(members: Metadata, present: Mapping[str, Any]) -> Metadata:
    """Return the metadata of a FIFO queue after a change."""
    before = read_metadata(present.get(sqs_fifo_metadata.METADATA), Fifo)
    if before is None:
        raise Fault(
            'InvalidAttributeName',
            f'Only FIFO queues have the attributes {", ".join(_FIFO)}.',
        )
    content = members.get('content_based')
    if content is not None:
        members['content_based'] = _flag('ContentBasedDeduplication', content)
    fields = {**msgspec.to_builtins(before), **members}
    if (fault := sqs_fifo_metadata.fault(fields)) is not None:
        raise Fault('InvalidAttributeValue', fault)
    return fields


def _encryption(attributes: Mapping[str, str]) -> Metadata:
    fields: Metadata = {}
    managed = attributes.get('SqsManagedSseEnabled')
    if managed is not None:
        fields['_enable_encrypt_messages'] = _flag(
            'SqsManagedSseEnabled', managed
        )
    key = attributes.get('KmsMasterKeyId')
    if key:
        if key != _DEFAULT_KEY:
            raise _refused('KmsMasterKeyId', f'the only key is {_DEFAULT_KEY}')
        fields['_enable_encrypt_messages'] = True
    return fields


def _parsed(name: str, text: str) -> Metadata | None:
    """Return the object that is the value of an attribute; None without."""
    if not text:
        return None
    try:
        # Takes no halves of surrogate pairs, which nothing can answer with.
        policy = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        policy = None
    if not isinstance(policy, dict):
        raise _refused(name, 'it is a JSON object')
    return policy


def read_metadata(value: Any, kind: Any) -> Any:
    """Return metadata that clients of ours may have spoilt."""
    if not value:
        return None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def _text(value: Any) -> str:
    return json.dumps(value, separators=(',', ':'))


def _bool(value: bool) -> str:
    return 'true' if value else 'false'


def _refused(name: str, reason: str) -> Fault:
    return Fault(
        'InvalidAttributeValue',
        f'Invalid value for the parameter {name}: {reason}.',
    )
