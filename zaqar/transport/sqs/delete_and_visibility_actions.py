# SPDX-License-Identifier: Apache-2.0
"""Actions that delete received messages, or change their visibility."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zaqar.controllers.claimed_message_settlement import NOT_HELD
from zaqar.errors import InvalidDeletion, MessageClaimed, NotFound
from zaqar.transport.sqs import (
    batch_checks_and_outcomes,
    faults,
    parameter_ranges,
    queue_urls_arns_and_receipts,
)
from zaqar.transport.sqs.action_context import ActionContext
from zaqar.transport.sqs.action_input_types import (
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    DeleteMessage,
    DeleteMessageBatch,
)
from zaqar.transport.sqs.batch_checks_and_outcomes import Outcome, Output
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.queue_urls_arns_and_receipts import Receipt


def delete_message(context: ActionContext, request: DeleteMessage) -> Output:
    """Delete a message, unless somebody else has received it since."""
    queue = context.queue(request.queue_url)
    _delete(
        context,
        queue,
        queue_urls_arns_and_receipts.receipt(request.receipt_handle),
    )
    return {}


def delete_message_batch(
    context: ActionContext, request: DeleteMessageBatch
) -> Output:
    queue = context.queue(request.queue_url)
    batch_checks_and_outcomes.check([entry.id for entry in request.entries])
    outcome = Outcome()
    receipts: dict[str, Receipt] = {}
    for entry in request.entries:
        with outcome.of(entry.id):
            receipts[entry.id] = queue_urls_arns_and_receipts.receipt(
                entry.receipt_handle
            )
    for keys in _by_claim(receipts):
        with outcome.of(*keys):
            ids = {receipts[key].message_id for key in keys}
            held = _settle(
                context, queue, receipts[keys[0]], {'delete': [*ids]}
            )
            for key in keys:
                if not held.get(receipts[key].message_id):
                    _delete(context, queue, receipts[key])
                outcome.succeed(key)
    return outcome.output()


def change_message_visibility(
    context: ActionContext, request: ChangeMessageVisibility
) -> Output:
    queue = context.queue(request.queue_url)
    receipt = queue_urls_arns_and_receipts.receipt(request.receipt_handle)
    change = _change(receipt, request.visibility_timeout)
    held = _settle(context, queue, receipt, {'extend': [change]})
    if not held.get(receipt.message_id):
        context.describe(queue)
        raise _not_in_flight()
    return {}


def change_message_visibility_batch(
    context: ActionContext, request: ChangeMessageVisibilityBatch
) -> Output:
    queue = context.queue(request.queue_url)
    batch_checks_and_outcomes.check([entry.id for entry in request.entries])
    outcome = Outcome()
    receipts: dict[str, Receipt] = {}
    changes: dict[str, Output] = {}
    for entry in request.entries:
        with outcome.of(entry.id):
            receipt = queue_urls_arns_and_receipts.receipt(
                entry.receipt_handle
            )
            if entry.visibility_timeout is None:
                raise faults.missing('VisibilityTimeout')
            changes[entry.id] = _change(receipt, entry.visibility_timeout)
            receipts[entry.id] = receipt
    is_any_held = False
    for keys in _by_claim(receipts):
        with outcome.of(*keys):
            # The last one of a message counts.
            latest = {receipts[key].message_id: changes[key] for key in keys}
            held = _settle(
                context,
                queue,
                receipts[keys[0]],
                {'extend': [*latest.values()]},
            )
            for key in keys:
                if held.get(receipts[key].message_id):
                    is_any_held = True
                    outcome.succeed(key)
                else:
                    outcome.fail(key, _not_in_flight())
    if not is_any_held:
        context.describe(queue)
    return outcome.output()


def _by_claim(receipts: Mapping[str, Receipt]) -> Iterable[list[str]]:
    """Return the entries of each claim, which are settled in one step.

    Those of claims whose ids were chosen are alone: an old and a new receipt
    of a message may be among them.
    """
    claims: dict[str, list[str]] = {}
    for key, receipt in receipts.items():
        name = receipt.handle if receipt.is_of_attempt else receipt.claim_id
        claims.setdefault(name, []).append(key)
    return claims.values()


def _settle(
    context: ActionContext,
    queue: str,
    receipt: Receipt,
    document: Mapping[str, Any],
) -> Mapping[str, bool]:
    """Settle messages of a claim; tell of each whether it was held.

    :param receipt: of any of them
    """
    if receipt.is_of_attempt:
        counts = {receipt.message_id: receipt.hand_outs}
        document = {**document, 'claim_counts': counts}
    try:
        result = context.run(
            'claim_settle',
            queue,
            document=document,
            claim_id=receipt.claim_id,
        )
    except NotFound:
        return {}
    results: Sequence[Mapping[str, str]] = result['results']
    return {item['id']: item['status'] != NOT_HELD for item in results}


def _delete(context: ActionContext, queue: str, receipt: Receipt) -> None:
    query: Output = {'claim_id': receipt.claim_id, 'existing': 'true'}
    counts: list[int | None] = [receipt.hand_outs]
    if not receipt.is_of_attempt:
        # In one step, as long as the claim lives.
        counts.insert(0, None)
    for count in counts:
        with contextlib.suppress(InvalidDeletion, MessageClaimed):
            context.run(
                'message_delete',
                queue,
                query={**query, 'claim_count': count},
                message_id=receipt.message_id,
            )
            return
    # Somebody else has received it: an old receipt deletes nothing.


def _change(receipt: Receipt, seconds: int) -> Output:
    parameter_ranges.VISIBILITY.check(seconds)
    return {'id': receipt.message_id, 'ttl': seconds}


def _not_in_flight() -> Fault:
    return Fault('MessageNotInflight', 'The message is not in flight.')
