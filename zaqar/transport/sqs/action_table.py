# SPDX-License-Identifier: Apache-2.0
"""The table of actions: the type of the input, and the function, of each."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from zaqar.transport.sqs import (
    action_inputs,
    delete_and_visibility_actions,
    message_move_task_actions,
    queue_actions,
    receive_message_action,
    send_message_actions,
)


class Action(NamedTuple):
    """An action: the type of its input, and its function."""

    input: type[Any]
    run: Callable[[Any, Any], dict[str, Any]]


ACTIONS: Mapping[str, Action] = {
    'AddPermission': Action(action_inputs.OnQueue, queue_actions.unsupported),
    'CancelMessageMoveTask': Action(
        action_inputs.CancelMessageMoveTask,
        message_move_task_actions.cancel_message_move_task,
    ),
    'ChangeMessageVisibility': Action(
        action_inputs.ChangeMessageVisibility,
        delete_and_visibility_actions.change_message_visibility,
    ),
    'ChangeMessageVisibilityBatch': Action(
        action_inputs.ChangeMessageVisibilityBatch,
        delete_and_visibility_actions.change_message_visibility_batch,
    ),
    'CreateQueue': Action(
        action_inputs.CreateQueue, queue_actions.create_queue
    ),
    'DeleteMessage': Action(
        action_inputs.DeleteMessage,
        delete_and_visibility_actions.delete_message,
    ),
    'DeleteMessageBatch': Action(
        action_inputs.DeleteMessageBatch,
        delete_and_visibility_actions.delete_message_batch,
    ),
    'DeleteQueue': Action(action_inputs.OnQueue, queue_actions.delete_queue),
    'GetQueueAttributes': Action(
        action_inputs.GetQueueAttributes, queue_actions.get_queue_attributes
    ),
    'GetQueueUrl': Action(
        action_inputs.GetQueueUrl, queue_actions.get_queue_url
    ),
    'ListDeadLetterSourceQueues': Action(
        action_inputs.ListDeadLetterSourceQueues,
        queue_actions.list_dead_letter_source_queues,
    ),
    'ListMessageMoveTasks': Action(
        action_inputs.ListMessageMoveTasks,
        message_move_task_actions.list_message_move_tasks,
    ),
    'ListQueueTags': Action(
        action_inputs.OnQueue, queue_actions.list_queue_tags
    ),
    'ListQueues': Action(action_inputs.ListQueues, queue_actions.list_queues),
    'PurgeQueue': Action(action_inputs.OnQueue, queue_actions.purge_queue),
    'ReceiveMessage': Action(
        action_inputs.ReceiveMessage, receive_message_action.receive_message
    ),
    'RemovePermission': Action(
        action_inputs.OnQueue, queue_actions.unsupported
    ),
    'SendMessage': Action(
        action_inputs.SendMessage, send_message_actions.send_message
    ),
    'SendMessageBatch': Action(
        action_inputs.SendMessageBatch, send_message_actions.send_message_batch
    ),
    'SetQueueAttributes': Action(
        action_inputs.SetQueueAttributes, queue_actions.set_queue_attributes
    ),
    'StartMessageMoveTask': Action(
        action_inputs.StartMessageMoveTask,
        message_move_task_actions.start_message_move_task,
    ),
    'TagQueue': Action(action_inputs.TagQueue, queue_actions.tag_queue),
    'UntagQueue': Action(action_inputs.UntagQueue, queue_actions.untag_queue),
}
