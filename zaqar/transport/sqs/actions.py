# SPDX-License-Identifier: Apache-2.0
"""The table of actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from zaqar.transport.sqs import (
    move_tasks,
    queue_actions,
    receiving,
    requests,
    sending,
    settling,
)


class Action(NamedTuple):
    """An action: the type of its input, and its function."""

    input: type[Any]
    run: Callable[[Any, Any], dict[str, Any]]


ACTIONS: Mapping[str, Action] = {
    'AddPermission': Action(requests.OnQueue, queue_actions.unsupported),
    'CancelMessageMoveTask': Action(
        requests.CancelMessageMoveTask, move_tasks.cancel_message_move_task
    ),
    'ChangeMessageVisibility': Action(
        requests.ChangeMessageVisibility, settling.change_message_visibility
    ),
    'ChangeMessageVisibilityBatch': Action(
        requests.ChangeMessageVisibilityBatch,
        settling.change_message_visibility_batch,
    ),
    'CreateQueue': Action(requests.CreateQueue, queue_actions.create_queue),
    'DeleteMessage': Action(requests.DeleteMessage, settling.delete_message),
    'DeleteMessageBatch': Action(
        requests.DeleteMessageBatch, settling.delete_message_batch
    ),
    'DeleteQueue': Action(requests.OnQueue, queue_actions.delete_queue),
    'GetQueueAttributes': Action(
        requests.GetQueueAttributes, queue_actions.get_queue_attributes
    ),
    'GetQueueUrl': Action(requests.GetQueueUrl, queue_actions.get_queue_url),
    'ListDeadLetterSourceQueues': Action(
        requests.ListDeadLetterSourceQueues,
        queue_actions.list_dead_letter_source_queues,
    ),
    'ListMessageMoveTasks': Action(
        requests.ListMessageMoveTasks, move_tasks.list_message_move_tasks
    ),
    'ListQueueTags': Action(requests.OnQueue, queue_actions.list_queue_tags),
    'ListQueues': Action(requests.ListQueues, queue_actions.list_queues),
    'PurgeQueue': Action(requests.OnQueue, queue_actions.purge_queue),
    'ReceiveMessage': Action(
        requests.ReceiveMessage, receiving.receive_message
    ),
    'RemovePermission': Action(requests.OnQueue, queue_actions.unsupported),
    'SendMessage': Action(requests.SendMessage, sending.send_message),
    'SendMessageBatch': Action(
        requests.SendMessageBatch, sending.send_message_batch
    ),
    'SetQueueAttributes': Action(
        requests.SetQueueAttributes, queue_actions.set_queue_attributes
    ),
    'StartMessageMoveTask': Action(
        requests.StartMessageMoveTask, move_tasks.start_message_move_task
    ),
    'TagQueue': Action(requests.TagQueue, queue_actions.tag_queue),
    'UntagQueue': Action(requests.UntagQueue, queue_actions.untag_queue),
}
