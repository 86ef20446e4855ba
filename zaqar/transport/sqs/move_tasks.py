# SPDX-License-Identifier: Apache-2.0
"""Actions that move dead letters back: redrives."""

from __future__ import annotations

from collections.abc import Sequence

from zaqar.controllers.redrive_records import Redrive
from zaqar.controllers.result_types import StartedRedrive
from zaqar.errors import Conflict, InvalidRequest, NotFound
from zaqar.transport.sqs import faults, names, ranges, requests
from zaqar.transport.sqs.batches import Output
from zaqar.transport.sqs.call import Call
from zaqar.transport.sqs.faults import Fault

_STATUSES = {
    'running': 'RUNNING',
    'done': 'COMPLETED',
    'cancelled': 'CANCELLED',
    'failed': 'FAILED',
}


def start_message_move_task(
    call: Call, request: requests.StartMessageMoveTask
) -> Output:
    queue = _queue(call, 'SourceArn', request.source_arn)
    document: Output = {}
    if request.destination_arn is not None:
        document['to'] = _queue(
            call, 'DestinationArn', request.destination_arn
        )
        _check_exists(call, document['to'])
    rate = request.max_number_of_messages_per_second
    ranges.RATE.check(rate)
    if rate is not None:
        document['rate'] = rate
    try:
        started: StartedRedrive = call.run(
            'redrive_create', queue, document=document
        )
    except NotFound as error:
        raise _missing(str(error)) from error
    except (Conflict, InvalidRequest) as error:
        raise Fault('UnsupportedOperation', str(error)) from error
    return {'TaskHandle': names.token(queue, started.id)}


def list_message_move_tasks(
    call: Call, request: requests.ListMessageMoveTasks
) -> Output:
    queue = _queue(call, 'SourceArn', request.source_arn)
    size = request.max_results
    ranges.TASKS.check(size)
    _check_exists(call, queue)
    redrives: Sequence[Redrive] = call.run('redrive_list', queue)
    return {'Results': [_shown(call, item) for item in redrives[: size or 1]]}


def cancel_message_move_task(
    call: Call, request: requests.CancelMessageMoveTask
) -> Output:
    parts = names.of_token(request.task_handle, 2)
    if parts is None:
        raise _missing('The task handle is not valid.')
    queue, redrive_id = call.checked(parts[0]), parts[1]
    try:
        redrive: Redrive = call.run(
            'redrive_get', queue, redrive_id=redrive_id
        )
        if redrive.has_ended:
            raise _missing('The task is not running any more.')
        call.run('redrive_delete', queue, redrive_id=redrive_id)
        redrive = call.run('redrive_get', queue, redrive_id=redrive_id)
    except NotFound as error:
        raise _missing(str(error)) from error
    return {'ApproximateNumberOfMessagesMoved': redrive.moved}


def _shown(call: Call, redrive: Redrive) -> Output:
    output: Output = {
        'Status': _STATUSES[redrive.status],
        'SourceArn': call.arn(redrive.queue),
        'ApproximateNumberOfMessagesMoved': redrive.moved,
        'StartedTimestamp': redrive.started_at,
    }
    if redrive.to is not None:
        output['DestinationArn'] = call.arn(redrive.to)
    if redrive.rate is not None:
        output['MaxNumberOfMessagesPerSecond'] = redrive.rate
    if not redrive.has_ended:
        output['TaskHandle'] = names.token(redrive.queue, redrive.id)
    if redrive.error is not None and redrive.status == 'failed':
        output['FailureReason'] = redrive.error
    return output


def _queue(call: Call, name: str, arn: str) -> str:
    queue = names.of_arn(arn)
    if queue is None:
        raise faults.invalid(name, 'it is no resource name of a queue.')
    return call.own(queue)


def _check_exists(call: Call, queue: str) -> None:
    try:
        call.describe(queue)
    except Fault as fault:
        if fault.name == 'QueueDoesNotExist':
            raise _missing(fault.message) from fault
        raise


def _missing(message: str) -> Fault:
    return Fault('ResourceNotFoundException', message)
