# SPDX-License-Identifier: Apache-2.0
"""The action ``ReceiveMessage``."""

from collections.abc import Collection, Mapping
from typing import Any

from zaqar.controllers import (
    body_as_text,
    message_extras_codec,
    message_group_and_attribute_checks,
)
from zaqar.controllers.message_attribute_codec import read_attributes
from zaqar.controllers.message_extras_codec import Extras
from zaqar.controllers.result_types import Claimed
from zaqar.objects import Message
from zaqar.transport.sqs import (
    faults,
    message_attributes,
    parameter_ranges,
    queue_urls_arns_and_receipts,
    send_message_actions,
)
from zaqar.transport.sqs.action_context import ActionContext
from zaqar.transport.sqs.action_input_types import ReceiveMessage
from zaqar.transport.sqs.batch_checks_and_outcomes import Output

_ALL = 'All'

_KNOWN = frozenset(
    (
        *(_ALL, 'SenderId', 'SentTimestamp', 'ApproximateReceiveCount'),
        *('ApproximateFirstReceiveTimestamp', 'SequenceNumber'),
        *('MessageDeduplicationId', 'MessageGroupId', 'AWSTraceHeader'),
        'DeadLetterQueueSourceArn',
    )
)


def receive_message(context: ActionContext, request: ReceiveMessage) -> Output:
    """Claim messages, each of which is settled by itself from then on."""
    queue = context.queue(request.queue_url)
    wanted = {
        *(request.attribute_names or ()),
        *(request.message_system_attribute_names or ()),
    }
    faults.check_attributes(wanted, _KNOWN)
    parameter_ranges.VISIBILITY.check(request.visibility_timeout)
    parameter_ranges.WAIT.check(request.wait_time_seconds)
    parameter_ranges.RECEIVED.check(request.max_number_of_messages)
    seconds = request.visibility_timeout
    document: dict[str, Any] = {'grace': 0}
    if seconds is not None:
        # No claim lives for 0 seconds; it is released below.
        document['ttl'] = max(seconds, 1)
    if attempt := request.receive_request_attempt_id:
        document['id'] = queue_urls_arns_and_receipts.of_attempt(
            context.project, attempt
        )
    size = request.max_number_of_messages or 1
    claimed: Claimed | None = context.run(
        'claim_create',
        queue,
        query={
            'limit': min(size, context.limits.max_messages_per_claim_or_pop),
            'wait': _wait(context, request),
            'existing': 'true',
        },
        document=document,
        may_wait=True,
    )
    if claimed is None:
        return {}
    if seconds == 0:
        context.run('claim_delete', queue, claim_id=claimed.claim.id)
    chosen = request.message_attribute_names or ()
    return {
        'Messages': [
            _received(context, claimed, message, wanted, chosen)
            for message in claimed.claim.messages
        ]
    }


def _wait(context: ActionContext, request: ReceiveMessage) -> int | None:
    seconds = request.wait_time_seconds
    return None if seconds is None else min(seconds, context.limits.max_wait)


def _received(
    context: ActionContext,
    claimed: Claimed,
    message: Message,
    wanted: Collection[str],
    chosen: Collection[str],
) -> Output:
    body = body_as_text.text_of(message.body)
    receipt = queue_urls_arns_and_receipts.Receipt(
        message.id, message.claim_count, claimed.claim.id
    )
    output: Output = {
        'MessageId': message.id,
        'ReceiptHandle': receipt.handle,
        'MD5OfBody': send_message_actions.body_checksum(body.encode()),
        'Body': body,
    }
    extras = message_extras_codec.read(message.extras)
    own: Mapping[str, Mapping[str, str]] = {}
    if extras.attributes is not None and (wanted or chosen):
        own = read_attributes(extras.attributes)
    if wanted:
        shown = _system_attributes(context, claimed.now, message, extras, own)
        if _ALL not in wanted:
            shown = {
                name: value for name, value in shown.items() if name in wanted
            }
        if shown:
            output['Attributes'] = shown
    if attributes := message_attributes.chosen(own, chosen):
        output['MessageAttributes'] = message_attributes.from_ours(attributes)
        output['MD5OfMessageAttributes'] = message_attributes.checksum(
            attributes
        )
    return output


def _system_attributes(
    context: ActionContext,
    now: int,
    message: Message,
    extras: Extras,
    own: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    # Nobody records when a message was received for the first time.
    first = now if message.claim_count <= 1 else message.created_at
    shown: dict[str, str | None] = {
        'SenderId': message.client,
        'SentTimestamp': str(message.created_at),
        'ApproximateReceiveCount': str(message.claim_count),
        'ApproximateFirstReceiveTimestamp': str(first),
        'MessageGroupId': message.group,
        'MessageDeduplicationId': extras.dedup_id,
    }
    if message.group is not None:
        shown['SequenceNumber'] = send_message_actions.sequence_number(
            message.id
        )
    for name, key in (
        ('AWSTraceHeader', message_group_and_attribute_checks.TRACE),
        ('MessageGroupId', message_group_and_attribute_checks.FAIR_GROUP),
    ):
        if key in own:
            shown[name] = own[key]['value']
    if extras.dead_letter is not None:
        shown['DeadLetterQueueSourceArn'] = context.arn(
            extras.dead_letter.queue
        )
    return {name: value for name, value in shown.items() if value is not None}
