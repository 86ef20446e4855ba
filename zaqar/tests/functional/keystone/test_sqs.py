# SPDX-License-Identifier: Apache-2.0
"""Clients of Amazon SQS with EC2 credentials of a real Keystone."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from zaqar.tests.functional.keystone.conftest import configuration, serve
from zaqar.tests.functional.sqs.clients import send, signed, sqs
from zaqar.tests.functional.sqs.conftest import ENABLED
from zaqar.tests.servers.keystone import Credential, Keystone, User

Make = Callable[[], tuple[Credential, Any]]


def _text(keystone: Keystone, user: User | None = None) -> str:
    text = configuration(keystone)
    if user is not None:
        service = keystone.service
        text = text.replace(service.name, user.name)
        text = text.replace(service.password, user.password)
    return f'{text}\n{ENABLED}'


@pytest.fixture(scope='module')
def origin(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service whose user may not read credentials."""
    folder = tmp_path_factory.mktemp('sqs')
    with serve(_text(keystone), folder) as url:
        yield url


@pytest.fixture
def make(keystone: Keystone, origin: str) -> Make:
    """A function that makes a credential in a new project."""

    def made() -> tuple[Credential, Any]:
        project = keystone.project()
        user = keystone.user(project, 'member')
        credential = keystone.ec2_credential(user, project)
        client = sqs(origin, credential.access, credential.secret)
        return credential, client

    return made


def _refused(client: Any) -> str:
    with pytest.raises(ClientError) as raised:
        client.list_queues()
    response = raised.value.response
    assert response['ResponseMetadata']['HTTPStatusCode'] == 403
    return str(response['Error']['Code'])


def test_projects_do_not_see_each_other(make: Make) -> None:
    (first, one), (_, other) = make(), make()
    url = one.create_queue(QueueName='jobs')['QueueUrl']
    assert url.endswith(f'/{first.project}/jobs')
    one.send_message(QueueUrl=url, MessageBody='mine')
    assert 'QueueUrls' not in other.list_queues()
    with pytest.raises(ClientError, match='AccessDenied'):
        other.receive_message(QueueUrl=url)
    (message,) = one.receive_message(
        QueueUrl=url, MessageSystemAttributeNames=['SenderId']
    )['Messages']
    sender = message['Attributes']['SenderId']
    assert sender.replace('-', '') == first.user


def test_what_is_not_signed_by_the_secret_is_refused(
    make: Make, origin: str
) -> None:
    credential, client = make()
    wrong = sqs(origin, credential.access, 'wrong')
    # Without the right to read credentials, nobody knows which it was.
    assert _refused(wrong) in ('InvalidClientTokenId', 'SignatureDoesNotMatch')
    assert _refused(sqs(origin, 'none', 's')) == 'InvalidClientTokenId'
    request = signed(
        f'{origin}/sqs',
        credential.access,
        credential.secret,
        body=b'{"QueueName": "a"}',
        headers={'X-Amz-Target': 'AmazonSQS.CreateQueue'},
    )
    request.body = request.body.replace(b'a', b'b')
    assert send(request).status_code == 403
    assert 'QueueUrls' not in client.list_queues()


def test_a_deleted_credential_is_refused(
    make: Make, keystone: Keystone
) -> None:
    credential, client = make()
    client.list_queues()
    keystone.delete_ec2_credential(credential)
    assert _refused(client) == 'InvalidClientTokenId'


@pytest.mark.proves('signatures of Amazon SQS')
def test_a_secret_proves_requests_without_keystone(
    make: Make, keystone: Keystone, tmp_path: pathlib.Path
) -> None:
    credential, _ = make()
    reader = keystone.user(keystone.service_project, 'service', 'admin')
    with serve(_text(keystone, reader), tmp_path) as origin:
        wrong = sqs(origin, credential.access, 'wrong')
        assert _refused(wrong) == 'SignatureDoesNotMatch'
        client = sqs(origin, credential.access, credential.secret)
        client.list_queues()
        with keystone.down():
            client.create_queue(QueueName='jobs')
            assert _refused(wrong) == 'SignatureDoesNotMatch'
            stranger = sqs(origin, 'unknown', 'secret')
            with pytest.raises(ClientError, match='ServiceUnavailable'):
                stranger.list_queues()
        log = (tmp_path / 'log').read_text()
        assert credential.secret not in log
