# SPDX-License-Identifier: Apache-2.0
"""Queues and their attributes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zaqar.tests.functional.sqs.clients import Native, sqs
from zaqar.tests.servers.zaqar import Zaqar

_COUNT = '{"deadLetterTargetArn": "a", "maxReceiveCount": "%s"}'
_SURROGATE = '{"deadLetterTargetArn": "\\ud800", "maxReceiveCount": 1}'


def _attributes(client: Any, url: str) -> dict[str, str]:
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])
    return dict(answer['Attributes'])


def test_attributes_are_those_of_the_queue(
    client: Any, native: Native
) -> None:
    wanted = {
        'VisibilityTimeout': '0',
        'MessageRetentionPeriod': '60',
        'DelaySeconds': '900',
        'MaximumMessageSize': '1024',
        'ReceiveMessageWaitTimeSeconds': '20',
    }
    url = client.create_queue(QueueName='q', Attributes=wanted)['QueueUrl']
    assert wanted.items() <= _attributes(client, url).items()
    metadata = native('GET', 'q')
    assert metadata['_default_claim_ttl'] == 0
    assert metadata['_default_message_ttl'] == 60
    assert metadata['_default_message_delay'] == 900
    assert metadata['_max_messages_post_size'] == 1024
    assert metadata['_default_wait'] == 20
    plain = client.create_queue(QueueName='plain')['QueueUrl']
    assert {
        'VisibilityTimeout': '30',
        'MessageRetentionPeriod': '345600',
        'DelaySeconds': '0',
        'MaximumMessageSize': '262144',
        'ReceiveMessageWaitTimeSeconds': '0',
        'SqsManagedSseEnabled': 'false',
    }.items() <= _attributes(client, plain).items()


@pytest.mark.parametrize(
    ('attributes', 'error'),
    [
        ({'VisibilityTimeout': '43201'}, 'InvalidAttributeValue'),
        ({'MessageRetentionPeriod': '59'}, 'InvalidAttributeValue'),
        ({'DelaySeconds': '901'}, 'InvalidAttributeValue'),
        ({'MaximumMessageSize': '1023'}, 'InvalidAttributeValue'),
        ({'MaximumMessageSize': '1048576'}, 'InvalidAttributeValue'),
        ({'ReceiveMessageWaitTimeSeconds': 'x'}, 'InvalidAttributeValue'),
        ({'RedrivePolicy': '[]'}, 'InvalidAttributeValue'),
        ({'RedrivePolicy': '{"deadLetterTargetArn": 1}'}, 'InvalidAttrib'),
        ({'RedriveAllowPolicy': '{"redrivePermission": 1}'}, 'InvalidAttrib'),
        ({'RedrivePolicy': _COUNT % ('9' * 5000)}, 'InvalidAttributeValue'),
        ({'RedrivePolicy': _SURROGATE}, 'InvalidAttributeValue'),
        ({'KmsMasterKeyId': 'mine'}, 'InvalidAttributeValue'),
        ({'SqsManagedSseEnabled': 'true'}, 'InvalidAttributeValue'),
        ({'Policy': '{}'}, 'InvalidAttributeValue'),
        ({'QueueArn': 'x'}, 'InvalidAttributeName'),
        ({'Nothing': 'x'}, 'InvalidAttributeName'),
        ({'ContentBasedDeduplication': 'true'}, 'InvalidAttributeName'),
        ({'FifoQueue': 'true'}, 'InvalidParameterValue'),
    ],
)
def test_what_a_queue_cannot_have_is_refused(
    client: Any, attributes: dict[str, str], error: str
) -> None:
    with pytest.raises(client.exceptions.ClientError, match=error):
        client.create_queue(QueueName='q', Attributes=attributes)
    assert 'QueueUrls' not in client.list_queues()


def test_a_queue_is_created_twice_with_the_same_attributes_only(
    client: Any, native: Native
) -> None:
    attributes = {'VisibilityTimeout': '7'}
    for more in (attributes, {}, attributes):
        client.create_queue(QueueName='q', Attributes=more)
    with pytest.raises(client.exceptions.QueueNameExists):
        client.create_queue(
            QueueName='q', Attributes={'VisibilityTimeout': '8'}
        )
    native('POST', 'posted/messages', {'messages': [{'body': 1}]})
    url = client.create_queue(QueueName='posted', Attributes=attributes)[
        'QueueUrl'
    ]
    assert _attributes(client, url)['VisibilityTimeout'] == '7'
    assert native('GET', 'posted/stats')['messages']['free'] == 1


def test_dead_letter_queues_say_who_may_have_them(client: Any) -> None:
    urls = {
        name: client.create_queue(QueueName=name)['QueueUrl']
        for name in ('dead', 'a', 'b')
    }
    arns = {n: _attributes(client, url)['QueueArn'] for n, url in urls.items()}

    def redrive(count: Any, arn: str) -> dict[str, str]:
        policy = {'deadLetterTargetArn': arn, 'maxReceiveCount': count}
        return {'RedrivePolicy': json.dumps(policy, separators=(',', ':'))}

    def allow(**policy: Any) -> None:
        text = json.dumps(policy, separators=(',', ':')) if policy else ''
        client.set_queue_attributes(
            QueueUrl=urls['dead'], Attributes={'RedriveAllowPolicy': text}
        )
        shown = _attributes(client, urls['dead']).get('RedriveAllowPolicy', '')
        assert shown == text

    def point(name: str, **more: str) -> None:
        client.set_queue_attributes(
            QueueUrl=urls[name],
            Attributes=more or redrive(5, arns['dead']),
        )

    allow(redrivePermission='byQueue', sourceQueueArns=[arns['a']])
    point('a')
    with pytest.raises(client.exceptions.InvalidAttributeValue):
        point('b')
    allow()
    point('b')
    shown = _attributes(client, urls['b'])['RedrivePolicy']
    assert {'RedrivePolicy': shown} == redrive(5, arns['dead'])

    def sources() -> list[str]:
        answer = client.list_dead_letter_source_queues(QueueUrl=urls['dead'])
        return list(answer['queueUrls'])

    assert sources() == [urls['a'], urls['b']]
    point('b', RedrivePolicy='')
    client.delete_queue(QueueUrl=urls['a'])
    assert sources() == []
    with pytest.raises(client.exceptions.InvalidAttributeValue):
        client.set_queue_attributes(
            QueueUrl=urls['b'],
            Attributes=redrive('3', arns['dead'].replace('dead', 'none')),
        )


def test_metadata_that_another_version_stored_spoils_no_change(
    client: Any, native: Native
) -> None:
    old = {'OpenStack-API-Version': 'messaging 2.0'}
    native('PUT', 'q.fifo', {'sqs_fifo': 'free'}, **old)
    url = client.get_queue_url(QueueName='q.fifo')['QueueUrl']
    with pytest.raises(client.exceptions.ClientError, match='Only FIFO'):
        client.set_queue_attributes(
            QueueUrl=url, Attributes={'ContentBasedDeduplication': 'true'}
        )


def test_names_and_prefixes(client: Any) -> None:
    for name in ('a', 'ab', 'ab-', 'ab-c', 'b', 'B'):
        client.create_queue(QueueName=name)

    def listed(prefix: str) -> list[str]:
        answer = client.list_queues(QueueNamePrefix=prefix)
        return [u.rpartition('/')[2] for u in answer.get('QueueUrls', [])]

    assert listed('ab') == ['ab', 'ab-', 'ab-c']
    assert listed('ab-') == ['ab-', 'ab-c']
    assert listed('a') == ['a', 'ab', 'ab-', 'ab-c']
    assert listed('ä') == listed('~') == []
    assert listed('') == ['B', 'a', 'ab', 'ab-', 'ab-c', 'b']
    with pytest.raises(client.exceptions.ClientError, match='64'):
        client.create_queue(QueueName='q' * 65)
    for more in ({'MaxResults': 0}, {'NextToken': '!'}):
        with pytest.raises(client.exceptions.ClientError, match='Parameter'):
            client.list_queues(**more)


def test_tags_have_bounds_and_are_all_kept(client: Any, url: str) -> None:
    tags = {f'k{n}': str(n) for n in range(50)}
    client.tag_queue(QueueUrl=url, Tags=tags)
    for more in ({'k50': ''}, {'': 'x'}, {'k': 'x' * 257}):
        with pytest.raises(client.exceptions.ClientError):
            client.tag_queue(QueueUrl=url, Tags=more)
    assert client.list_queue_tags(QueueUrl=url)['Tags'] == tags


def test_queues_of_other_projects_are_out_of_reach(
    zaqar: Zaqar, client: Any, url: str
) -> None:
    other = sqs(zaqar.url, 'another')
    assert 'QueueUrls' not in other.list_queues()
    for call in (other.purge_queue, other.delete_queue, other.receive_message):
        with pytest.raises(client.exceptions.ClientError, match='Denied'):
            call(QueueUrl=url)
    with pytest.raises(client.exceptions.ClientError, match='InvalidAddress'):
        client.purge_queue(QueueUrl='none')


def test_actions_on_a_missing_queue_say_so(client: Any, url: str) -> None:
    none = url.replace('jobs', 'none')
    handle = f'{"0" * 32}.1.{"0" * 32}'
    entry = {'Id': 'a', 'ReceiptHandle': handle}
    for name, more in (
        ('send_message', {'MessageBody': 'm'}),
        ('send_message_batch', {'Entries': [{'Id': 'a', 'MessageBody': 'm'}]}),
        ('receive_message', {}),
        ('receive_message', {'WaitTimeSeconds': 1}),
        ('delete_message', {'ReceiptHandle': handle}),
        ('delete_message_batch', {'Entries': [entry]}),
        (
            'change_message_visibility',
            {'ReceiptHandle': handle, 'VisibilityTimeout': 1},
        ),
        (
            'change_message_visibility_batch',
            {'Entries': [{**entry, 'VisibilityTimeout': 1}]},
        ),
        ('get_queue_attributes', {}),
        ('set_queue_attributes', {'Attributes': {'DelaySeconds': '1'}}),
        ('purge_queue', {}),
        ('tag_queue', {'Tags': {'a': 'b'}}),
        ('list_queue_tags', {}),
        ('list_dead_letter_source_queues', {}),
    ):
        with pytest.raises(client.exceptions.QueueDoesNotExist):
            getattr(client, name)(QueueUrl=none, **more)
    assert client.list_queues()['QueueUrls'] == [url]
