# SPDX-License-Identifier: Apache-2.0
"""How long a secret proves requests."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from keystoneauth1 import exceptions
from msgspec import structs

from zaqar.transport.sqs.faults import Fault
from zaqar.transport.sqs.keystone_ec2_credentials import Ec2Credentials
from zaqar.transport.sqs.signature_v4 import Signature

TOKEN = {
    'user': {'id': 'u', 'domain': {'id': 'd'}},
    'project': {'id': 'p', 'domain': {'id': 'd'}},
    'roles': [{'name': 'Member'}],
    'expires_at': '2999-01-01T00:00:00.000000Z',
}


class _Answer:
    """An answer of Keystone."""

    def __init__(self, document: Any) -> None:
        self.headers = {'X-Subject-Token': 'a token'}
        self._document = document

    def json(self) -> Any:
        """Return the document."""
        return self._document


class _Session:
    """A Keystone that knows one secret, or none."""

    def __init__(self) -> None:
        self.posts = 0
        self.token: dict[str, Any] = dict(TOKEN)
        self.is_gone = False
        self.is_readable = True

    def post(self, url: str, **_more: Any) -> _Answer:
        """Prove a signature."""
        self.posts += 1
        if self.is_gone:
            raise exceptions.NotFound
        return _Answer({'token': self.token})

    def get(self, url: str, **_more: Any) -> _Answer:
        """Return the credential."""
        if not self.is_readable:
            raise exceptions.Forbidden
        blob = json.dumps({'access': 'key', 'secret': 'right'})
        return _Answer({'credential': {'blob': blob}})


def _signed(secret: str, region: str = 'r', **more: Any) -> Signature:
    signature = Signature(
        access='key',
        scope=('20300101', region, 'sqs'),
        moment='20300101T000000Z',
        value='',
        expires=None,
        headers=[('host', 'h')],
        method='POST',
        path='/sqs',
        query=[],
        body_hash='',
    )
    signature = structs.replace(signature, **more)
    key = signature.signing_key(secret)
    return structs.replace(signature, value=signature.made_with(key))


class _Timer:
    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def session() -> _Session:
    return _Session()


@pytest.fixture
def timer() -> _Timer:
    return _Timer()


def _credentials(
    session: _Session, timer: _Timer, seconds: int = 60
) -> Ec2Credentials:
    return Ec2Credentials(session, {}, seconds, timer)


def test_a_secret_proves_requests_for_the_configured_time(
    session: _Session, timer: _Timer
) -> None:
    known = _credentials(session, timer)
    identity = known.prove(_signed('right'))
    assert (identity.project, identity.roles) == ('p', ('member',))
    timer.at = 59.9
    session.is_gone = True
    assert known.prove(_signed('right')) == identity
    with pytest.raises(Fault, match='SignatureDoesNotMatch'):
        known.prove(_signed('wrong'))
    assert session.posts == 1
    timer.at = 60
    with pytest.raises(Fault, match='InvalidClientTokenId'):
        known.prove(_signed('right'))


def test_it_does_not_outlive_its_token(
    session: _Session, timer: _Timer
) -> None:
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=20)
    session.token['expires_at'] = end.isoformat()
    known = _credentials(session, timer)
    known.prove(_signed('right'))
    timer.at = 15
    known.prove(_signed('right'))
    assert session.posts == 2


@pytest.mark.parametrize('is_readable', [False, True])
def test_without_a_secret_keystone_proves_each_request(
    session: _Session, timer: _Timer, is_readable: bool
) -> None:
    session.is_readable = is_readable
    known = _credentials(session, timer, seconds=60 * (not is_readable))
    for _ in range(3):
        known.prove(_signed('right'))
    assert session.posts == 3


def test_a_changed_secret_is_not_kept(
    session: _Session, timer: _Timer
) -> None:
    known = _credentials(session, timer)
    # Keystone has proved it by another one than it has now.
    known.prove(_signed('former'))
    known.prove(_signed('right'))
    assert session.posts == 2


def test_access_rules_admit_nobody(session: _Session, timer: _Timer) -> None:
    session.token['application_credential'] = {'access_rules': []}
    with pytest.raises(Fault, match='AccessDenied'):
        _credentials(session, timer).prove(_signed('right'))


def test_each_region_has_a_key_of_its_own(
    session: _Session, timer: _Timer
) -> None:
    known = _credentials(session, timer)
    for _ in range(2):
        for region in 'abcdef':
            known.prove(_signed('right', region))
            with pytest.raises(Fault, match='SignatureDoesNotMatch'):
                known.prove(_signed('wrong', region))
    assert session.posts == 1


@pytest.mark.proves('signatures of Amazon SQS')
def test_what_keystone_does_not_verify_is_refused(
    session: _Session, timer: _Timer
) -> None:
    known = _credentials(session, timer)
    query = [('Action', 'PurgeQueue')]
    for _ in range(2):
        for expires in (None, 60):
            with pytest.raises(Fault, match='IncompleteSignature'):
                known.prove(_signed('right', query=query, expires=expires))
        assert known.prove(_signed('right', query=query, method='GET'))
