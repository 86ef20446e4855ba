# SPDX-License-Identifier: Apache-2.0
"""Types of the inputs of actions, with the names that the protocol has."""

import msgspec

#: Texts by name: attributes and tags.
Texts = dict[str, str]


class Input(msgspec.Struct, rename='pascal'):
    """Any input."""


class ListQueues(Input):
    queue_name_prefix: str | None = None
    next_token: str | None = None
    max_results: int | None = None


class CreateQueue(Input):
    queue_name: str
    attributes: Texts | None = None
    tags: Texts | None = msgspec.field(default=None, name='tags')


class GetQueueUrl(Input):
    queue_name: str
    queue_owner_account: str | None = msgspec.field(
        default=None, name='QueueOwnerAWSAccountId'
    )


class OnQueue(Input):
    """The input of an action on a queue.

    :ivar queue_url: may be left out where the request is sent to it
    """

    queue_url: str | None = None


class GetQueueAttributes(OnQueue):
    attribute_names: list[str] | None = None


class SetQueueAttributes(OnQueue, kw_only=True):
    attributes: Texts


class ListDeadLetterSourceQueues(OnQueue):
    next_token: str | None = None
    max_results: int | None = None


class TagQueue(OnQueue, kw_only=True):
    tags: Texts


class UntagQueue(OnQueue, kw_only=True):
    tag_keys: list[str]


class Value(Input):
    """The value of an attribute of a message."""

    data_type: str | None = None
    string_value: str | None = None
    binary_value: str | None = None
    string_list_values: list[str] | None = None
    binary_list_values: list[str] | None = None


class NewMessage(Input, kw_only=True):
    message_body: str
    delay_seconds: int | None = None
    message_attributes: dict[str, Value] | None = None
    message_system_attributes: dict[str, Value] | None = None
    message_deduplication_id: str | None = None
    message_group_id: str | None = None


class SendMessage(NewMessage, kw_only=True):
    queue_url: str | None = None


class NewEntry(NewMessage, kw_only=True):
    id: str


class SendMessageBatch(OnQueue, kw_only=True):
    entries: list[NewEntry]


class ReceiveMessage(OnQueue):
    attribute_names: list[str] | None = None
    message_system_attribute_names: list[str] | None = None
    message_attribute_names: list[str] | None = None
    max_number_of_messages: int | None = None
    visibility_timeout: int | None = None
    wait_time_seconds: int | None = None
    receive_request_attempt_id: str | None = None


class DeleteMessage(OnQueue, kw_only=True):
    receipt_handle: str


class ReceiptEntry(Input, kw_only=True):
    id: str
    receipt_handle: str


class DeleteMessageBatch(OnQueue, kw_only=True):
    entries: list[ReceiptEntry]


class ChangeMessageVisibility(OnQueue, kw_only=True):
    receipt_handle: str
    visibility_timeout: int


class VisibilityEntry(ReceiptEntry, kw_only=True):
    visibility_timeout: int | None = None


class ChangeMessageVisibilityBatch(OnQueue, kw_only=True):
    entries: list[VisibilityEntry]


class StartMessageMoveTask(Input):
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None


class ListMessageMoveTasks(Input):
    source_arn: str
    max_results: int | None = None


class CancelMessageMoveTask(Input):
    task_handle: str
