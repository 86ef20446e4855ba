# SPDX-License-Identifier: Apache-2.0
"""The table of actions: the type of the input, and the function, of each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_type_hints

from zaqar.transport.sqs import (
    delete_and_visibility_actions,
    message_move_task_actions,
    queue_actions,
    receive_message_action,
    send_message_actions,
)

#: Takes an :class:`.ActionContext` and the input; returns the output.
Function = Callable[[Any, Any], dict[str, Any]]


class Action(NamedTuple):
    """An action: the type of its input, and its function."""

    input: type[Any]
    run: Function


_FUNCTIONS: Mapping[str, Function] = {
    'AddPermission': queue_actions.unsupported,
    'CancelMessageMoveTask': (
        message_move_task_actions.cancel_message_move_task
    ),
    'ChangeMessageVisibility': (
        delete_and_visibility_actions.change_message_visibility
    ),
    'ChangeMessageVisibilityBatch': (
        delete_and_visibility_actions.change_message_visibility_batch
    ),
    'CreateQueue': queue_actions.create_queue,
    'DeleteMessage': delete_and_visibility_actions.delete_message,
    'DeleteMessageBatch': delete_and_visibility_actions.delete_message_batch,
    'DeleteQueue': queue_actions.delete_queue,
    'GetQueueAttributes': queue_actions.get_queue_attributes,
    'GetQueueUrl': queue_actions.get_queue_url,
    'ListDeadLetterSourceQueues': queue_actions.list_dead_letter_source_queues,
    'ListMessageMoveTasks': message_move_task_actions.list_message_move_tasks,
    'ListQueueTags': queue_actions.list_queue_tags,
    'ListQueues': queue_actions.list_queues,
    'PurgeQueue': queue_actions.purge_queue,
    'ReceiveMessage': receive_message_action.receive_message,
    'RemovePermission': queue_actions.unsupported,
    'SendMessage': send_message_actions.send_message,
    'SendMessageBatch': send_message_actions.send_message_batch,
    'SetQueueAttributes': queue_actions.set_queue_attributes,
    'StartMessageMoveTask': message_move_task_actions.start_message_move_task,
    'TagQueue': queue_actions.tag_queue,
    'UntagQueue': queue_actions.untag_queue,
}

ACTIONS: Mapping[str, Action] = {
    name: Action(get_type_hints(function)['request'], function)
    for name, function in _FUNCTIONS.items()
}
