# SPDX-License-Identifier: Apache-2.0
"""Actions on tasks that move dead letters back, which are redrives here."""

from collections.abc import Sequence

from zaqar.controllers.redrive_records import Redrive
from zaqar.controllers.result_types import StartedRedrive
from zaqar.errors import Conflict, InvalidRequest, NotFound
from zaqar.transport.sqs import (
    action_input_types,
    faults,
    parameter_ranges,
    queue_urls_arns_and_receipts,
)
from zaqar.transport.sqs.action_context import ActionContext
from zaqar.transport.sqs.batch_checks_and_outcomes import Output
from zaqar.transport.sqs.faults import Fault

_STATUSES = {
    'running': 'RUNNING',
    'done': 'COMPLETED',
    'cancelled': 'CANCELLED',
    'failed': 'FAILED',
}


def start_message_move_task(
    context: ActionContext, request: action_input_types.StartMessageMoveTask
) -> Output:
    queue = _queue(context, 'SourceArn', request.source_arn)
    document: Output = {}
    if request.destination_arn is not None:
        document['to'] = _queue(
            context, 'DestinationArn', request.destination_arn
        )
        _check_exists(context, document['to'])
    rate = request.max_number_of_messages_per_second
    parameter_ranges.RATE.check(rate)
    if rate is not None:
        document['rate'] = rate
    try:
        started: StartedRedrive = context.run(
            'redrive_create', queue, document=document
        )
    except NotFound as error:
        raise _missing(str(error)) from error
    except (Conflict, InvalidRequest) as error:
        raise Fault('UnsupportedOperation', str(error)) from error
    return {
        'TaskHandle': queue_urls_arns_and_receipts.token(queue, started.id)
    }


def list_message_move_tasks(
    context: ActionContext, request: action_input_types.ListMessageMoveTasks
) -> Output:
    queue = _queue(context, 'SourceArn', request.source_arn)
    size = request.max_results
    parameter_ranges.TASKS.check(size)
    _check_exists(context, queue)
    redrives: Sequence[Redrive] = context.run('redrive_list', queue)
    return {
        'Results': [_shown(context, item) for item in redrives[: size or 1]]
    }


def cancel_message_move_task(
    context: ActionContext, request: action_input_types.CancelMessageMoveTask
) -> Output:
    parts = queue_urls_arns_and_receipts.of_token(request.task_handle, 2)
    if parts is None:
        raise _missing('The task handle is not valid.')
    queue, redrive_id = context.checked(parts[0]), parts[1]
    try:
        redrive: Redrive = context.run(
            'redrive_get', queue, redrive_id=redrive_id
        )
        if redrive.has_ended:
            raise _missing('The task is not running any more.')
        context.run('redrive_delete', queue, redrive_id=redrive_id)
        redrive = context.run('redrive_get', queue, redrive_id=redrive_id)
    except NotFound as error:
        raise _missing(str(error)) from error
    return {'ApproximateNumberOfMessagesMoved': redrive.moved}


def _shown(context: ActionContext, redrive: Redrive) -> Output:
    output: Output = {
        'Status': _STATUSES[redrive.status],
        'SourceArn': context.arn(redrive.queue),
        'ApproximateNumberOfMessagesMoved': redrive.moved,
        'StartedTimestamp': redrive.started_at,
    }
    if redrive.to is not None:
        output['DestinationArn'] = context.arn(redrive.to)
    if redrive.rate is not None:
        output['MaxNumberOfMessagesPerSecond'] = redrive.rate
    if not redrive.has_ended:
        output['TaskHandle'] = queue_urls_arns_and_receipts.token(
            redrive.queue, redrive.id
        )
    if redrive.error is not None and redrive.status == 'failed':
        output['FailureReason'] = redrive.error
    return output


def _queue(context: ActionContext, name: str, arn: str) -> str:
    queue = queue_urls_arns_and_receipts.of_arn(arn)
    if queue is None:
        raise faults.invalid(name, 'it is no resource name of a queue.')
    return context.own(queue)


def _check_exists(context: ActionContext, queue: str) -> None:
    try:
        context.describe(queue)
    except Fault as fault:
        if fault.name == 'QueueDoesNotExist':
            raise _missing(fault.message) from fault
        raise


def _missing(message: str) -> Fault:
    return Fault('ResourceNotFoundException', message)
