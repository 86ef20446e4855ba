# SPDX-License-Identifier: Apache-2.0
"""Actions on received messages, by their receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.controllers.settling import NOT_HELD
from zaqar.errors import InvalidDeletion, MessageClaimed, NotFound
from zaqar.transport.sqs import batches, faults, names
from zaqar.transport.sqs.batches import Outcome, Output
from zaqar.transport.sqs.call import Call
from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.names import Receipt
from zaqar.transport.sqs.requests import (
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    DeleteMessage,
    DeleteMessageBatch,
)

#: Seconds for which a message can be held.
MOST_SECONDS = 43_200


def delete_message(call: Call, request: DeleteMessage) -> Output:
    """Delete a message, unless somebody else has received it since."""
    queue = call.queue(request.queue_url)
    _delete(call, queue, names.receipt(request.receipt_handle))
    return {}


def delete_message_batch(call: Call, request: DeleteMessageBatch) -> Output:
    queue = call.queue(request.queue_url)
    batches.check([entry.id for entry in request.entries])
    outcome = Outcome()
    receipts: dict[str, Receipt] = {}
    for entry in request.entries:
        with outcome.of(entry.id):
            receipts[entry.id] = names.receipt(entry.receipt_handle)
    for claim_id, keys in _by_claim(receipts).items():
        with outcome.of(*keys):
            ids = {receipts[key].message_id for key in keys}
            held = _settle(call, queue, claim_id, {'delete': [*ids]})
            for key in keys:
                if not held.get(receipts[key].message_id):
                    _delete(call, queue, receipts[key])
                outcome.succeed(key)
    return outcome.output()


def change_message_visibility(
    call: Call, request: ChangeMessageVisibility
) -> Output:
    queue = call.queue(request.queue_url)
    receipt = names.receipt(request.receipt_handle)
    change = _change(receipt, request.visibility_timeout)
    held = _settle(call, queue, receipt.claim_id, {'extend': [change]})
    if not held.get(receipt.message_id):
        call.describe(queue)
        raise _not_in_flight()
    return {}


def change_message_visibility_batch(
    call: Call, request: ChangeMessageVisibilityBatch
) -> Output:
    queue = call.queue(request.queue_url)
    batches.check([entry.id for entry in request.entries])
    outcome = Outcome()
    receipts: dict[str, Receipt] = {}
    changes: dict[str, Output] = {}
    for entry in request.entries:
        with outcome.of(entry.id):
            receipt = names.receipt(entry.receipt_handle)
            if entry.visibility_timeout is None:
                raise faults.missing('VisibilityTimeout')
            changes[entry.id] = _change(receipt, entry.visibility_timeout)
            receipts[entry.id] = receipt
    is_any_held = False
    for claim_id, keys in _by_claim(receipts).items():
        with outcome.of(*keys):
            # The last one of a message counts.
            latest = {receipts[key].message_id: changes[key] for key in keys}
            held = _settle(
                call, queue, claim_id, {'extend': [*latest.values()]}
            )
            for key in keys:
                if held.get(receipts[key].message_id):
                    is_any_held = True
                    outcome.succeed(key)
                else:
                    outcome.fail(key, _not_in_flight())
    if not is_any_held:
        call.describe(queue)
    return outcome.output()


def _by_claim(receipts: Mapping[str, Receipt]) -> Mapping[str, list[str]]:
    """Return the entries of each claim, which are settled in one step."""
    claims: dict[str, list[str]] = {}
    for key, receipt in receipts.items():
        claims.setdefault(receipt.claim_id, []).append(key)
    return claims


def _settle(
    call: Call, queue: str, claim_id: str, document: Mapping[str, Any]
) -> Mapping[str, bool]:
    """Settle messages of a claim; tell of each whether it was held."""
    try:
        result = call.run(
            'claim_settle', queue, document=document, claim_id=claim_id
        )
    except NotFound:
        return {}
    results: Sequence[Mapping[str, str]] = result['results']
    return {item['id']: item['status'] != NOT_HELD for item in results}


def _delete(call: Call, queue: str, receipt: Receipt) -> None:
    try:
        call.run(
            'message_delete',
            queue,
            query={
                'claim_id': receipt.claim_id,
                'claim_count': receipt.hand_outs,
                'existing': 'true',
            },
            message_id=receipt.message_id,
        )
    except (InvalidDeletion, MessageClaimed):
        # Somebody else has received it: an old receipt deletes nothing.
        return


def _change(receipt: Receipt, seconds: int) -> Output:
    faults.check_range('VisibilityTimeout', seconds, 0, MOST_SECONDS)
    return {'id': receipt.message_id, 'ttl': seconds}


def _not_in_flight() -> Fault:
    return Fault('MessageNotInflight', 'The message is not in flight.')
