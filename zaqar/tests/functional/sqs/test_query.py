# SPDX-License-Identifier: Apache-2.0
"""The Query protocol, by forms made by hand."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from zaqar.tests.functional.sqs.clients import REGION, Form, Native, texts

_ENTRY = 'SendMessageBatchRequestEntry.1.'


@pytest.fixture
def queue(form: Form) -> str:
    """The URL of a queue, as the answer has it."""
    fields = {
        'QueueName': 'jobs',
        'Attribute.1.Name': 'VisibilityTimeout',
        'Attribute.1.Value': '60',
        'Tag.1.Key': 'team',
        'Tag.1.Value': 'a',
    }
    (url,) = texts(form('CreateQueue', fields), 'QueueUrl')
    return url


def test_messages_go_both_ways(form: Form, queue: str) -> None:
    body = 'a <b> & "c"\r\n é'
    fields = {
        'MessageBody': body,
        'MessageAttribute.1.Name': 'n',
        'MessageAttribute.1.Value.DataType': 'Number',
        'MessageAttribute.1.Value.StringValue': '1',
    }
    # To the queue itself.
    root = form('SendMessage', fields, url=queue)
    assert len(texts(root, 'MD5OfMessageAttributes')[0]) == 32
    wanted = {
        'QueueUrl': queue,
        'AttributeName.1': 'All',
        'MessageAttributeName.1': 'All',
        'MaxNumberOfMessages': '10',
    }
    root = form('ReceiveMessage', wanted)
    assert texts(root, 'Body') == [body]
    assert texts(root, 'DataType') == ['Number']
    assert 'SentTimestamp' in texts(root, 'Name')
    (handle,) = texts(root, 'ReceiptHandle')
    entries = {
        'DeleteMessageBatchRequestEntry.1.Id': 'a',
        'DeleteMessageBatchRequestEntry.1.ReceiptHandle': handle,
        'DeleteMessageBatchRequestEntry.2.Id': 'b',
        'DeleteMessageBatchRequestEntry.2.ReceiptHandle': 'none',
    }
    root = form('DeleteMessageBatch', entries, url=queue)
    assert texts(root, 'Id') == ['a', 'b']
    assert texts(root, 'Code') == ['ReceiptHandleIsInvalid']
    assert texts(root, 'SenderFault') == ['true']
    assert texts(form('ReceiveMessage', wanted), 'Body') == []


def test_batches_and_lists_come_in_the_order_of_their_numbers(
    form: Form, queue: str
) -> None:
    entries: dict[str, Any] = {}
    for n in range(1, 11):
        entries[f'SendMessageBatchRequestEntry.{n}.Id'] = f'id{n}'
        entries[f'SendMessageBatchRequestEntry.{n}.MessageBody'] = str(n)
    root = form('SendMessageBatch', entries, url=queue)
    assert texts(root, 'Id') == [f'id{n}' for n in range(1, 11)]
    assert texts(form('ListQueues', {}), 'QueueUrl') == [queue]
    root = form('ListQueueTags', {'QueueUrl': queue})
    assert (texts(root, 'Key'), texts(root, 'Value')) == (['team'], ['a'])
    root = form(
        'GetQueueAttributes',
        {'QueueUrl': queue, 'AttributeName.1': 'VisibilityTimeout'},
    )
    assert texts(root, 'Value') == ['60']


def test_what_xml_cannot_hold_is_replaced(
    form: Form, queue: str, native: Native
) -> None:
    native('POST', 'jobs/messages', {'messages': [{'body': 'a\x00b'}]})
    root = form('ReceiveMessage', {'QueueUrl': queue})
    assert texts(root, 'Body') == ['a\ufffdb']


def test_a_presigned_request_is_a_link(form: Form, queue: str) -> None:
    url = f'{queue}?Action=SendMessage&MessageBody=by%20link%2B'
    request = AWSRequest('GET', url)
    credentials = Credentials(form.project, 'secret')
    SigV4QueryAuth(credentials, 'sqs', REGION, expires=60).add_auth(request)
    answer = requests.get(request.prepare().url, timeout=30)
    assert answer.status_code == 200, answer.text
    root = form('ReceiveMessage', {'QueueUrl': queue})
    assert texts(root, 'Body') == ['by link+']


@pytest.mark.parametrize(
    ('fields', 'code'),
    [
        ({'Action': 'SendMessage'}, 'MissingParameter'),
        ({'Action': 'ReceiveMessage', 'MaxNumberOfMessages': 'x'}, 'Invalid'),
        ({'Action': 'TagQueue', 'Tag.x.Key': 'a'}, 'InvalidParameterValue'),
        ({'Action': 'TagQueue', 'Tag.1': 'a'}, 'InvalidParameterValue'),
        ({'Action': 'SendMessage', 'MessageBody.1.a': ''}, 'Invalid'),
        ({'Action': 'SendMessage', 'MessageBody': '\x02'}, 'InvalidMessageC'),
        ({'Action': 'SendMessageBatch'}, 'MissingParameter'),
        (
            {'Action': 'SendMessageBatch', f'{_ENTRY * 1000}Id': 'x'},
            'InvalidParameterValue',
        ),
        ({'Action': ''}, 'InvalidAction'),
    ],
)
def test_malformed_forms_are_refused(
    form: Form, queue: str, fields: dict[str, str], code: str
) -> None:
    answer = form.answer('', fields, url=queue)
    assert answer.status_code == 400
    assert f'<Code>{code}' in answer.text
