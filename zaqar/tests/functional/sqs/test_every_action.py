# SPDX-License-Identifier: Apache-2.0
"""Each action answers, and each member of each output is met."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import Shape

from zaqar.tests.functional.sqs.clients import Form
from zaqar.tests.functional.sqs.test_model import MODEL, REFUSED

#: Members of outputs that never come.
NEVER = {
    # Lists of values are not supported, as with AWS itself.
    'StringListValues',
    'BinaryListValues',
    # Redrives do not count before they move.
    'ApproximateNumberOfMessagesToMove',
    # Only of tasks that failed.
    'FailureReason',
}


def _met(shape: Shape | None, value: Any, place: str) -> Iterator[str]:
    """Yield the members of a shape that a value has."""
    if shape is None or value is None:
        return
    if shape.type_name == 'structure':
        for name, inner in value.items():
            if name in shape.members:
                yield f'{place}.{name}'
                yield from _met(shape.members[name], inner, f'{place}.{name}')
    elif shape.type_name == 'list':
        for item in value:
            yield from _met(shape.member, item, place)
    elif shape.type_name == 'map':
        for item in value.values():
            yield from _met(shape.value, item, place)


def _all(shape: Shape | None, place: str) -> Iterator[str]:
    """Yield all members of a shape."""
    if shape is None:
        return
    if shape.type_name == 'structure':
        for name, inner in shape.members.items():
            if name not in NEVER:
                yield f'{place}.{name}'
                yield from _all(inner, f'{place}.{name}')
    elif shape.type_name == 'list':
        yield from _all(shape.member, place)
    elif shape.type_name == 'map':
        yield from _all(shape.value, place)


@pytest.fixture
def met(client: Any) -> dict[str, set[str]]:
    """The members of outputs that were met, by action."""
    seen: dict[str, set[str]] = {}

    def note(parsed: Any, model: Any, **_more: Any) -> None:
        members = seen.setdefault(model.name, set())
        members |= set(_met(model.output_shape, parsed, model.name))

    client.meta.events.register('after-call.sqs', note)
    return seen


def _run(client: Any, project: str) -> None:
    """Call each action at least once."""
    dead = client.create_queue(QueueName='dead')['QueueUrl']
    arn = client.get_queue_attributes(
        QueueUrl=dead, AttributeNames=['QueueArn']
    )['Attributes']['QueueArn']
    assert arn == f'arn:aws:sqs:a-region:{project}:dead'
    policy = json.dumps({'deadLetterTargetArn': arn, 'maxReceiveCount': 1})
    fifo = client.create_queue(
        QueueName='work.fifo',
        Attributes={'FifoQueue': 'true', 'ContentBasedDeduplication': 'true'},
        tags={'team': 'a'},
    )['QueueUrl']
    url = client.create_queue(
        QueueName='work', Attributes={'RedrivePolicy': policy}
    )['QueueUrl']
    assert client.get_queue_url(QueueName='work')['QueueUrl'] == url
    pages = client.get_paginator('list_queues').paginate(
        PaginationConfig={'PageSize': 1}
    )
    urls = [one for page in pages for one in page.get('QueueUrls', [])]
    assert urls == [dead, url, fifo]
    sources = client.list_dead_letter_source_queues(
        QueueUrl=dead, MaxResults=1
    )
    assert sources['queueUrls'] == [url]
    client.tag_queue(QueueUrl=fifo, Tags={'stage': 'b'})
    assert client.list_queue_tags(QueueUrl=fifo)['Tags'] == {
        'team': 'a',
        'stage': 'b',
    }
    client.untag_queue(QueueUrl=fifo, TagKeys=['team', 'none'])
    client.set_queue_attributes(
        QueueUrl=fifo, Attributes={'VisibilityTimeout': '5'}
    )
    _messages(client, url, fifo)
    for _ in range(2):
        client.purge_queue(QueueUrl=fifo)
    _redrive(client, url, dead, arn)
    for name in ('add_permission', 'remove_permission'):
        more = (
            {'AWSAccountIds': ['1'], 'Actions': ['*']}
            if name.startswith('add')
            else {}
        )
        with pytest.raises(client.exceptions.UnsupportedOperation):
            getattr(client, name)(QueueUrl=url, Label='l', **more)
    client.delete_queue(QueueUrl=fifo)
    client.delete_queue(QueueUrl=fifo)


def _messages(client: Any, url: str, fifo: str) -> None:
    value = {'DataType': 'Number', 'StringValue': '1'}
    raw = {'DataType': 'Binary.raw', 'BinaryValue': b'\0\xff'}
    message: Mapping[str, Any] = {
        'MessageBody': 'hällo',
        'MessageAttributes': {'n': value, 'r': raw},
        'MessageSystemAttributes': {
            'AWSTraceHeader': {'DataType': 'String', 'StringValue': 'Root=1'}
        },
        'MessageGroupId': 'g',
    }
    client.send_message(QueueUrl=fifo, **message)
    entries = [
        {'Id': 'a', **message, 'MessageBody': 'other'},
        {'Id': 'b', **message, 'MessageBody': '\x01'},
    ]
    sent = client.send_message_batch(QueueUrl=fifo, Entries=entries)
    assert [one['Id'] for one in sent['Successful']] == ['a']
    (failed,) = sent['Failed']
    assert (failed['Code'], failed['SenderFault']) == (
        'InvalidMessageContents',
        True,
    )
    received = client.receive_message(
        QueueUrl=fifo,
        MaxNumberOfMessages=10,
        MessageSystemAttributeNames=['All'],
        MessageAttributeNames=['All'],
    )['Messages']
    assert [one['Body'] for one in received] == ['hällo', 'other']
    assert received[0]['MessageAttributes'] == {'n': value, 'r': raw}
    shown = received[0]['Attributes']
    assert shown['AWSTraceHeader'] == 'Root=1'
    assert shown['MessageGroupId'] == 'g'
    assert shown['ApproximateReceiveCount'] == '1'
    assert len(shown['SequenceNumber']) == 20
    handles = [one['ReceiptHandle'] for one in received]
    client.change_message_visibility(
        QueueUrl=fifo, ReceiptHandle=handles[0], VisibilityTimeout=60
    )
    changed = client.change_message_visibility_batch(
        QueueUrl=fifo,
        Entries=[
            {'Id': str(n), 'ReceiptHandle': handle, 'VisibilityTimeout': 30}
            for n, handle in enumerate([*handles, 'none'])
        ],
    )
    assert [one['Id'] for one in changed['Successful']] == ['0', '1']
    assert changed['Failed'][0]['Code'] == 'ReceiptHandleIsInvalid'
    client.delete_message(QueueUrl=fifo, ReceiptHandle=handles[0])
    deleted = client.delete_message_batch(
        QueueUrl=fifo,
        Entries=[
            {'Id': str(n), 'ReceiptHandle': handle}
            for n, handle in enumerate([*handles, 'none'])
        ],
    )
    assert [one['Id'] for one in deleted['Successful']] == ['0', '1']
    counts = client.get_queue_attributes(
        QueueUrl=fifo, AttributeNames=['All']
    )['Attributes']
    assert counts['ApproximateNumberOfMessages'] == '0'
    assert counts['VisibilityTimeout'] == '5'
    assert abs(int(counts['CreatedTimestamp']) - time.time()) < 60


def _redrive(client: Any, url: str, dead: str, arn: str) -> None:
    client.send_message(QueueUrl=url, MessageBody='bad')
    for _ in range(2):
        client.receive_message(QueueUrl=url, VisibilityTimeout=0)
    (message,) = client.receive_message(
        QueueUrl=dead,
        MessageSystemAttributeNames=['All'],
        VisibilityTimeout=0,
    )['Messages']
    source = message['Attributes']['DeadLetterQueueSourceArn']
    assert source == arn.replace(':dead', ':work')
    handle = client.start_message_move_task(
        SourceArn=arn, DestinationArn=source, MaxNumberOfMessagesPerSecond=500
    )['TaskHandle']
    tasks = client.list_message_move_tasks(SourceArn=arn, MaxResults=10)
    (task,) = tasks['Results']
    assert task['SourceArn'] == arn
    assert task['DestinationArn'] == source
    end = time.monotonic() + 20
    try:
        client.cancel_message_move_task(TaskHandle=handle)
    except client.exceptions.ResourceNotFoundException:
        # It has ended before.
        assert time.monotonic() < end


def test_every_action_answers_in_the_shapes_of_the_model(
    client: Any, project: str, met: dict[str, set[str]]
) -> None:
    _run(client, project)
    assert set(met) == set(MODEL.operation_names)
    missing = {
        member
        for name in set(MODEL.operation_names) - REFUSED
        for member in _all(MODEL.operation_model(name).output_shape, name)
        if member not in met[name]
    }
    # A task may have ended before it was cancelled.
    missing -= {
        'CancelMessageMoveTask.ApproximateNumberOfMessagesMoved',
        'ListMessageMoveTasks.Results.TaskHandle',
    }
    assert not missing


def test_errors_have_both_of_their_names(client: Any, form: Form) -> None:
    with pytest.raises(client.exceptions.QueueDoesNotExist) as raised:
        client.get_queue_url(QueueName='none')
    code = 'AWS.SimpleQueueService.NonExistentQueue'
    assert raised.value.response['Error']['QueryErrorCode'] == (
        'QueueDoesNotExist'
    )
    assert raised.value.response['Error']['Code'] == code
    answer = form.answer('GetQueueUrl', {'QueueName': 'none'})
    assert answer.status_code == 400
    assert f'<Code>{code}</Code>' in answer.text
    assert '<Type>Sender</Type>' in answer.text


def test_unknown_actions_are_refused(client: Any, form: Form) -> None:
    assert '<Code>InvalidAction</Code>' in form.answer('Nothing', {}).text
    with pytest.raises(ClientError, match='InvalidAction'):
        client.meta.events.register(
            'before-sign.sqs',
            lambda request, **_: request.headers.replace_header(
                'X-Amz-Target', 'AmazonSQS.Nothing'
            ),
        )
        client.list_queues()
