# SPDX-License-Identifier: Apache-2.0
"""Actions that send messages."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from zaqar.controllers import message_group_and_attribute_checks
from zaqar.controllers.result_types import Posted
from zaqar.errors import InvalidRequest, QueueFull
from zaqar.transport.sqs import (
    batch_checks_and_outcomes,
    faults,
    message_attributes,
    parameter_ranges,
    query_protocol,
    queue_urls_arns_and_receipts,
)
from zaqar.transport.sqs.action_context import ActionContext
from zaqar.transport.sqs.action_input_types import (
    NewMessage,
    SendMessage,
    SendMessageBatch,
)
from zaqar.transport.sqs.batch_checks_and_outcomes import Output
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.message_attributes import Attributes

_TRACE = 'AWSTraceHeader'


class Draft(msgspec.Struct, frozen=True):
    """A message that is to be posted.

    :ivar document: as the operation takes it
    :ivar size: bytes that it counts for
    :ivar output: what is known of the answer
    """

    document: dict[str, Any]
    size: int
    output: Output


def send_message(context: ActionContext, request: SendMessage) -> Output:
    queue = context.queue(request.queue_url)
    draft = _draft(context, queue, request)
    return _sent(queue, draft, _post(context, queue, [draft]).ids[0])


def send_message_batch(
    context: ActionContext, request: SendMessageBatch
) -> Output:
    """Send messages, each by itself."""
    queue = context.queue(request.queue_url)
    batch_checks_and_outcomes.check([entry.id for entry in request.entries])
    outcome = batch_checks_and_outcomes.Outcome()
    drafts: dict[str, Draft] = {}
    for entry in request.entries:
        with outcome.of(entry.id):
            drafts[entry.id] = _draft(context, queue, entry)
    most = _most_bytes(context)
    if sum(draft.size for draft in drafts.values()) > most:
        raise Fault(
            'BatchRequestTooLong',
            f'Batch requests cannot be longer than {most} bytes.',
        )
    if not drafts:
        return outcome.output()
    try:
        ids = _post(context, queue, [*drafts.values()]).ids
    except (InvalidRequest, QueueFull):
        # One of them may be invalid, or too much.
        for key, draft in drafts.items():
            with outcome.of(key):
                posted = _post(context, queue, [draft])
                outcome.succeed(key, _sent(queue, draft, posted.ids[0]))
        return outcome.output()
    for (key, draft), message_id in zip(drafts.items(), ids, strict=True):
        outcome.succeed(key, _sent(queue, draft, message_id))
    return outcome.output()


def _post(
    context: ActionContext, queue: str, drafts: Sequence[Draft]
) -> Posted:
    posted: Posted = context.run(
        'message_post',
        queue,
        query={'existing': 'true'},
        document={'messages': [draft.document for draft in drafts]},
        size=sum(draft.size for draft in drafts),
    )
    return posted


def _draft(context: ActionContext, queue: str, request: NewMessage) -> Draft:
    body = request.message_body
    if not body:
        raise faults.missing('MessageBody')
    attributes = message_attributes.to_ours(request.message_attributes or {})
    texts = [body, *(item['value'] for item in attributes.values())]
    if any(map(query_protocol.is_unsafe, texts)):
        raise Fault(
            'InvalidMessageContents',
            'A message holds a character that XML cannot hold.',
        )
    encoded = body.encode()
    size = len(encoded) + message_attributes.size(attributes)
    most = _most_bytes(context)
    if size > most:
        raise faults.invalid(
            'MessageBody', f'a message must be shorter than {most} bytes.'
        )
    output = {'MD5OfMessageBody': body_checksum(encoded)}
    if attributes:
        output['MD5OfMessageAttributes'] = message_attributes.checksum(
            attributes
        )
    traces = _traces(request)
    if traces:
        output['MD5OfMessageSystemAttributes'] = message_attributes.checksum(
            traces
        )
        attributes[message_group_and_attribute_checks.TRACE] = traces[_TRACE]
    document: dict[str, Any] = {'body': body}
    group = request.message_group_id
    if queue.endswith(queue_urls_arns_and_receipts.FIFO):
        if group is None:
            raise faults.missing('MessageGroupId')
        document['group'] = group
    elif group is not None:
        attributes[message_group_and_attribute_checks.FAIR_GROUP] = {
            'type': 'String',
            'value': group,
        }
    delay = request.delay_seconds
    parameter_ranges.DELAY.check(delay)
    # 0 says nothing to a FIFO queue, whose messages have none of their own.
    if delay or (delay == 0 and 'group' not in document):
        document['delay'] = delay
    if request.message_deduplication_id is not None:
        document['dedup_id'] = request.message_deduplication_id
    if attributes:
        document['attributes'] = attributes
    return Draft(document, size, output)


def _traces(request: NewMessage) -> Attributes:
    values = request.message_system_attributes or {}
    if values.keys() - {_TRACE}:
        raise faults.invalid(
            'MessageSystemAttributes', f'the only one is {_TRACE}.'
        )
    return message_attributes.to_ours(values)


def _sent(queue: str, draft: Draft, message_id: str) -> Output:
    output = {'MessageId': message_id, **draft.output}
    if queue.endswith(queue_urls_arns_and_receipts.FIFO):
        output['SequenceNumber'] = sequence_number(message_id)
    return output


def body_checksum(encoded: bytes) -> str:
    return hashlib.md5(encoded, usedforsecurity=False).hexdigest()


def sequence_number(message_id: str) -> str:
    """Return the number of a message in its queue, as 20 digits."""
    return f'{int(message_id[:16], 16):020d}'


def _most_bytes(context: ActionContext) -> int:
    return min(
        parameter_ranges.MESSAGE_SIZE.most,
        context.limits.max_messages_post_size,
    )
