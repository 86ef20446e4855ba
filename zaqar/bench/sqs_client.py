# SPDX-License-Identifier: Apache-2.0
"""A client that makes the calls of a worker in the protocol of Amazon SQS."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3
from msgspec import structs

from zaqar.bench.client_interface import TIMEOUT, CallFailed, ClaimedMessages
from zaqar.bench.credentials import SqsKeys
from zaqar.transport.sqs import json_protocol, parameter_ranges, signature_v4
from zaqar.transport.sqs.batch_checks_and_outcomes import MOST_ENTRIES
from zaqar.transport.sqs.signature_v4 import Signature

_REGION = 'RegionOne'


class SqsBenchClient:
    """A client over one persistent HTTP connection."""

    def __init__(self, url: str, keys: SqsKeys) -> None:
        parts = urlsplit(url)
        self._keys = keys
        self._host = parts.netloc
        self._urls: dict[str, str] = {}
        self._path = f'{parts.path.rstrip("/")}/sqs'
        self._pool = urllib3.connection_from_url(
            f'{parts.scheme}://{parts.netloc}',
            maxsize=1,
            timeout=TIMEOUT,
            retries=False,
        )

    def connect(self) -> None:
        self._call('ListQueues', {'MaxResults': 1})

    def delete_queue(self, queue: str) -> None:
        """Delete a queue and create it again: nothing else does."""
        name = {'QueueName': queue}
        url = self._call('CreateQueue', name)['QueueUrl']
        self._call('DeleteQueue', {'QueueUrl': url})
        self._call('CreateQueue', name)

    def post(self, queue: str, messages: Sequence[Mapping[str, Any]]) -> None:
        bodies = [
            msgspec.json.encode(message['body']).decode()
            for message in messages
        ]
        if len(bodies) == 1:
            self._on(queue, 'SendMessage', MessageBody=bodies[0])
            return
        for start in range(0, len(bodies), MOST_ENTRIES):
            entries = [
                {'Id': str(n), 'MessageBody': body}
                for n, body in enumerate(bodies[start : start + MOST_ENTRIES])
            ]
            _check(self._on(queue, 'SendMessageBatch', Entries=entries))

    def claim(
        self, queue: str, *, ttl: int, grace: int, limit: int, wait: int
    ) -> ClaimedMessages | None:
        answer = self._on(
            queue,
            'ReceiveMessage',
            MaxNumberOfMessages=min(limit, MOST_ENTRIES),
            VisibilityTimeout=ttl,
            WaitTimeSeconds=min(wait, parameter_ranges.WAIT.most),
        )
        messages = answer.get('Messages')
        if not messages:
            return None
        return ClaimedMessages(
            '',
            [item['ReceiptHandle'] for item in messages],
            [msgspec.json.decode(item['Body']) for item in messages],
        )

    def delete(self, queue: str, claim_id: str, message_id: str) -> None:
        self._on(queue, 'DeleteMessage', ReceiptHandle=message_id)

    def delete_many(self, queue: str, message_ids: Sequence[str]) -> None:
        entries = [
            {'Id': str(n), 'ReceiptHandle': handle}
            for n, handle in enumerate(message_ids)
        ]
        _check(self._on(queue, 'DeleteMessageBatch', Entries=entries))

    def list(self, queue: str, marker: str | None, limit: int) -> str | None:
        """Read the numbers of messages: this protocol has no lists."""
        names = ['ApproximateNumberOfMessages']
        self._on(queue, 'GetQueueAttributes', AttributeNames=names)
        return None

    def close(self) -> None:
        self._pool.close()

    def _on(self, queue: str, action: str, **members: Any) -> Any:
        if queue not in self._urls:
            answer = self._call('GetQueueUrl', {'QueueName': queue})
            self._urls[queue] = answer['QueueUrl']
        return self._call(action, {'QueueUrl': self._urls[queue], **members})

    def _call(self, action: str, members: Mapping[str, Any]) -> Any:
        body = msgspec.json.encode(members)
        try:
            answer = self._pool.urlopen(
                'POST',
                self._path,
                body=body,
                headers=self._headers(action, body),
            )
        except urllib3.exceptions.HTTPError as error:
            raise CallFailed(type(error).__name__) from error
        if answer.status >= 300:
            raise CallFailed(str(answer.status))
        return msgspec.json.decode(answer.data)

    def _headers(self, action: str, body: bytes) -> dict[str, str]:
        moment = time.strftime(signature_v4.MOMENT, time.gmtime())
        # They are signed in this order, that of their names.
        headers = {
            'content-type': json_protocol.CONTENT_TYPE,
            'host': self._host,
            'x-amz-date': moment,
            'x-amz-target': f'{json_protocol.PREFIX}{action}',
        }
        signature = Signature(
            access=self._keys.access,
            scope=(moment[:8], _REGION, 'sqs'),
            moment=moment,
            value='',
            expires=None,
            headers=[*headers.items()],
            method='POST',
            path=self._path,
            query=(),
            body_hash=hashlib.sha256(body).hexdigest(),
        )
        key = signature.signing_key(self._keys.secret)
        headers['authorization'] = structs.replace(
            signature, value=signature.made_with(key)
        ).authorization
        return headers


def _check(answer: Mapping[str, Any]) -> None:
    """Raise the error of an entry of a batch, if one has failed."""
    for failed in answer.get('Failed', ()):
        raise CallFailed(failed['Code'])
