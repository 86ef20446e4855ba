# SPDX-License-Identifier: Apache-2.0
"""Messages through boto3, and through both APIs."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any

import pytest

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.sqs.clients import Native, sqs
from zaqar.tests.servers.zaqar import Zaqar


def _receive(client: Any, url: str, **options: Any) -> list[Any]:
    answer = client.receive_message(
        QueueUrl=url, **{'MaxNumberOfMessages': 10, **options}
    )
    return list(answer.get('Messages', []))


def test_messages_pass_through_every_store(
    stored: Zaqar, project: str
) -> None:
    client = sqs(stored.url, project)
    url = client.create_queue(QueueName='jobs')['QueueUrl']
    entries = [{'Id': str(n), 'MessageBody': f'm{n}'} for n in range(10)]
    assert not client.send_message_batch(QueueUrl=url, Entries=entries).get(
        'Failed'
    )
    first = _receive(client, url, VisibilityTimeout=0)
    assert sorted(one['Body'] for one in first) == [f'm{n}' for n in range(10)]
    # Nobody else has received it: its receipt is valid still.
    client.delete_message(
        QueueUrl=url, ReceiptHandle=first[0]['ReceiptHandle']
    )
    second = _receive(client, url)
    assert len(second) == 9
    assert _receive(client, url) == []
    # Somebody else has.
    client.delete_message(
        QueueUrl=url, ReceiptHandle=first[1]['ReceiptHandle']
    )
    with pytest.raises(client.exceptions.MessageNotInflight):
        client.change_message_visibility(
            QueueUrl=url,
            ReceiptHandle=first[1]['ReceiptHandle'],
            VisibilityTimeout=0,
        )
    client.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {
                'Id': str(n),
                'ReceiptHandle': one['ReceiptHandle'],
                'VisibilityTimeout': 0,
            }
            for n, one in enumerate(second)
        ],
    )
    third = _receive(
        client, url, MessageSystemAttributeNames=['ApproximateReceiveCount']
    )
    assert len(third) == 9
    for one in third:
        assert one['Attributes'] == {'ApproximateReceiveCount': '3'}
    deleted = client.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {'Id': str(n), 'ReceiptHandle': one['ReceiptHandle']}
            for n, one in enumerate(third)
        ],
    )
    assert len(deleted['Successful']) == 9
    counts = client.get_queue_attributes(
        QueueUrl=url, AttributeNames=['ApproximateNumberOfMessages']
    )
    assert counts['Attributes'] == {'ApproximateNumberOfMessages': '0'}


def test_groups_keep_their_order_on_every_store(
    stored: Zaqar, project: str
) -> None:
    client = sqs(stored.url, project)
    url = client.create_queue(
        QueueName='jobs.fifo', Attributes={'FifoQueue': 'true'}
    )['QueueUrl']
    for n in range(3):
        for _ in range(2):
            client.send_message(
                QueueUrl=url,
                MessageBody=str(n),
                MessageGroupId='g',
                MessageDeduplicationId=f'd{n}',
            )
    attempt = {'ReceiveRequestAttemptId': 'one', 'MaxNumberOfMessages': 1}
    (first,) = _receive(client, url, **attempt)
    assert first['Body'] == '0'
    assert _receive(client, url, **attempt) == [first]
    assert _receive(client, url) == []
    client.delete_message(QueueUrl=url, ReceiptHandle=first['ReceiptHandle'])
    rest = _receive(client, url, MessageSystemAttributeNames=['All'])
    assert [one['Body'] for one in rest] == ['1', '2']
    shown = rest[0]['Attributes']
    assert shown['MessageDeduplicationId'] == 'd1'
    assert shown['SequenceNumber'] < rest[1]['Attributes']['SequenceNumber']


def test_an_old_receipt_of_a_repeated_attempt_changes_nothing(
    client: Any,
) -> None:
    url = client.create_queue(
        QueueName='jobs.fifo', Attributes={'FifoQueue': 'true'}
    )['QueueUrl']
    client.send_message(
        QueueUrl=url,
        MessageBody='m',
        MessageGroupId='g',
        MessageDeduplicationId='d',
    )
    old, new = (
        _receive(
            client,
            url,
            ReceiveRequestAttemptId='one',
            VisibilityTimeout=seconds,
        )[0]['ReceiptHandle']
        for seconds in (0, 60)
    )
    client.delete_message(QueueUrl=url, ReceiptHandle=old)
    entry = {'Id': 'a', 'ReceiptHandle': old}
    deleted = client.delete_message_batch(QueueUrl=url, Entries=[entry])
    assert deleted['Successful'] == [{'Id': 'a'}]
    change = {'ReceiptHandle': old, 'VisibilityTimeout': 0}
    with pytest.raises(client.exceptions.MessageNotInflight):
        client.change_message_visibility(QueueUrl=url, **change)
    entries = [
        {'Id': str(n), 'ReceiptHandle': handle, 'VisibilityTimeout': 90}
        for n, handle in enumerate((old, new))
    ]
    changed = client.change_message_visibility_batch(
        QueueUrl=url, Entries=entries
    )
    assert [one['Id'] for one in changed['Successful']] == ['1']
    names = ['ApproximateNumberOfMessagesNotVisible']

    def held() -> str:
        answer = client.get_queue_attributes(
            QueueUrl=url, AttributeNames=names
        )
        return str(answer['Attributes'][names[0]])

    assert held() == '1'
    client.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {'Id': str(n), 'ReceiptHandle': handle}
            for n, handle in enumerate((new, old))
        ],
    )
    assert held() == '0'


@pytest.mark.parametrize('attempt', ['', 'an-attempt'])
@pytest.mark.parametrize('queue', ['jobs', 'jobs.fifo'])
def test_receipt_handles_have_no_hyphens(
    stored: Zaqar, project: str, queue: str, attempt: str
) -> None:
    client = sqs(stored.url, project)
    is_fifo = queue.endswith('.fifo')
    url = client.create_queue(
        QueueName=queue,
        Attributes={'FifoQueue': 'true'} if is_fifo else {},
    )['QueueUrl']
    fifo = {'MessageGroupId': 'a-group', 'MessageDeduplicationId': 'a-send'}
    client.send_message(
        QueueUrl=url, MessageBody='m', **(fifo if is_fifo else {})
    )
    options = {'ReceiveRequestAttemptId': attempt} if attempt else {}
    (message,) = _receive(client, url, **options)
    # amazon-sqs-extended-client sends what follows the last one.
    assert '-' not in message['ReceiptHandle']


def test_a_wait_ends_with_a_message(
    client: Any, url: str, zaqar: Zaqar, project: str
) -> None:
    messages: list[Any] = []
    waits = threading.Thread(
        target=lambda: messages.extend(
            _receive(client, url, WaitTimeSeconds=20)
        )
    )
    other = sqs(zaqar.url, project)
    with ends_within(10):
        waits.start()
        time.sleep(0.3)
        other.send_message(QueueUrl=url, MessageBody='late')
        waits.join()
    assert [one['Body'] for one in messages] == ['late']
    began = time.monotonic()
    client.set_queue_attributes(
        QueueUrl=url, Attributes={'ReceiveMessageWaitTimeSeconds': '1'}
    )
    with ends_within(5):
        assert _receive(client, url) == []
    assert time.monotonic() - began > 0.9


def test_native_clients_see_the_same_messages(
    client: Any, url: str, native: Native
) -> None:
    client.send_message(
        QueueUrl=url,
        MessageBody='from afar',
        MessageAttributes={
            'kind': {'DataType': 'String.a', 'StringValue': 'x'}
        },
    )
    claim = native('POST', 'jobs/claims', {'ttl': 60})
    (message,) = claim['messages']
    assert message['body'] == 'from afar'
    assert message['attributes'] == {
        'kind': {'type': 'String.a', 'value': 'x'}
    }
    native('DELETE', message['href'].partition('/queues/')[2])
    bodies: list[Any] = [{'b': [1, 2.50]}, 'text', 'a\ud800b', '\x00']
    native(
        'POST', 'jobs/messages', {'messages': [{'body': b} for b in bodies]}
    )
    texts = [one['Body'] for one in _receive(client, url)]
    assert texts == ['{"b":[1,2.5]}', 'text', 'a\ufffdb', '\x00']


def test_the_group_of_a_message_holds_up_nothing_on_other_queues(
    client: Any, url: str
) -> None:
    for body in 'ab':
        client.send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId='tenant'
        )
    names = ['MessageGroupId']
    for _ in range(2):
        (message,) = _receive(
            client,
            url,
            MaxNumberOfMessages=1,
            MessageSystemAttributeNames=names,
        )
        assert message['Attributes'] == {'MessageGroupId': 'tenant'}


def test_content_recognizes_duplicates_in_their_scope(client: Any) -> None:
    url = client.create_queue(
        QueueName='q.fifo',
        Attributes={
            'FifoQueue': 'true',
            'ContentBasedDeduplication': 'true',
            'DeduplicationScope': 'messageGroup',
        },
    )['QueueUrl']
    ids = [
        client.send_message(
            QueueUrl=url, MessageBody='same', MessageGroupId=group
        )['MessageId']
        for group in 'aab'
    ]
    assert ids[0] == ids[1] != ids[2]
    (message, _) = _receive(client, url, MessageSystemAttributeNames=['All'])
    digest = hashlib.sha256(b'same').hexdigest()
    assert message['Attributes']['MessageDeduplicationId'] == digest
    client.set_queue_attributes(
        QueueUrl=url, Attributes={'ContentBasedDeduplication': 'false'}
    )
    shown = client.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])[
        'Attributes'
    ]
    assert shown['DeduplicationScope'] == 'messageGroup'
    with pytest.raises(client.exceptions.ClientError, match='dedup_id'):
        client.send_message(QueueUrl=url, MessageBody='x', MessageGroupId='a')
    with pytest.raises(client.exceptions.ClientError, match='MessageGroupId'):
        client.send_message(
            QueueUrl=url, MessageBody='x', MessageDeduplicationId='a'
        )


def test_attributes_are_chosen_by_name(client: Any, url: str) -> None:
    value = {'DataType': 'String', 'StringValue': 'v'}
    client.send_message(
        QueueUrl=url,
        MessageBody='m',
        MessageAttributes={'a.b': value, 'a.c': value, 'd': value},
    )
    for wanted, names in (
        (['d'], {'d'}),
        (['a.*'], {'a.b', 'a.c'}),
        (['none'], set()),
        (['.*'], {'a.b', 'a.c', 'd'}),
    ):
        (message,) = _receive(
            client, url, VisibilityTimeout=0, MessageAttributeNames=wanted
        )
        assert message.get('MessageAttributes', {}).keys() == names


def test_trace_and_group_are_beside_ten_attributes(
    client: Any, url: str
) -> None:
    value = {'DataType': 'String', 'StringValue': 'v'}
    trace = {'DataType': 'String', 'StringValue': 'Root=1'}
    message = {
        'QueueUrl': url,
        'MessageBody': 'm',
        'MessageSystemAttributes': {'AWSTraceHeader': trace},
        'MessageGroupId': 'g',
    }
    attributes = {f'a{n}': value for n in range(10)}
    client.send_message(**message, MessageAttributes=attributes)
    (received,) = _receive(
        client,
        url,
        MessageAttributeNames=['All'],
        MessageSystemAttributeNames=['AWSTraceHeader', 'MessageGroupId'],
    )
    assert received['MessageAttributes'] == attributes
    assert received['Attributes'] == {
        'AWSTraceHeader': 'Root=1',
        'MessageGroupId': 'g',
    }
    attributes['a10'] = value
    with pytest.raises(client.exceptions.ClientError, match='at most 10'):
        client.send_message(**message, MessageAttributes=attributes)


def test_large_messages_are_refused(client: Any, url: str) -> None:
    big = 'é' * (131_072)
    client.send_message(QueueUrl=url, MessageBody=big)
    (message,) = _receive(client, url)
    assert message['Body'] == big
    with pytest.raises(client.exceptions.ClientError, match='262144'):
        client.send_message(QueueUrl=url, MessageBody=f'{big}x')
    with pytest.raises(client.exceptions.BatchRequestTooLong):
        client.send_message_batch(
            QueueUrl=url,
            Entries=[{'Id': n, 'MessageBody': big} for n in 'ab'],
        )
    client.set_queue_attributes(
        QueueUrl=url, Attributes={'MaximumMessageSize': '1024'}
    )
    sent = client.send_message_batch(
        QueueUrl=url,
        Entries=[
            {'Id': str(size), 'MessageBody': 'x' * size}
            for size in (1000, 1024, 1025)
        ],
    )
    assert [one['Id'] for one in sent['Successful']] == ['1000', '1024']
    assert [one['Id'] for one in sent['Failed']] == ['1025']
