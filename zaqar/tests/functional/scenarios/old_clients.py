# SPDX-License-Identifier: Apache-2.0
"""Clients of 2.0: python-zaqarclient, openstacksdk, commands, plain HTTP."""

from __future__ import annotations

import abc
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import openstack
from zaqarclient.queues import client

from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.functional.keystone.commands import Shell
from zaqar.tests.servers.keystone import DOMAIN, Keystone, User

#: Seconds for which messages and claims live.
TTL = 600

#: All keys that messages of 2.0 have.
KEYS = {'id', 'href', 'ttl', 'age', 'body'}


@dataclass(frozen=True)
class Taken:
    """A claim of an old client: ids and bodies of its messages, in order."""

    id: str
    ids: Sequence[str]
    bodies: Sequence[Any]


class OldClient(abc.ABC):
    """A client that never heard of microversions."""

    @abc.abstractmethod
    def post(self, queue: str, *bodies: Any) -> None:
        """Post messages."""

    @abc.abstractmethod
    def bodies(self, queue: str) -> list[Any]:
        """Return the bodies that a list shows, free messages of all."""

    @abc.abstractmethod
    def claim(self, queue: str) -> Taken | None:
        """Claim up to ten messages, None if there are none."""

    @abc.abstractmethod
    def release(self, queue: str, taken: Taken) -> None:
        """Release a claim."""

    @abc.abstractmethod
    def total(self, queue: str) -> int:
        """Count the messages of a queue."""


class PlainClient(OldClient):
    """Sends requests without a version, and knows the keys of answers."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def post(self, queue: str, *bodies: Any) -> None:
        messages = [{'body': body, 'ttl': TTL} for body in bodies]
        answer = self._ask(queue, 'POST', 'messages', {'messages': messages})
        assert set(answer) == {'resources'}

    def bodies(self, queue: str) -> list[Any]:
        page = self._ask(queue, 'GET', 'messages?echo=true&limit=20')
        assert set(page) == {'messages', 'links'}
        return [message['body'] for message in _checked(page)]

    def claim(self, queue: str) -> Taken | None:
        document = {'ttl': TTL, 'grace': 60}
        claim = self._ask(queue, 'POST', 'claims', document)
        if claim is None:
            return None
        assert set(claim) == {'messages'}
        messages = _checked(claim)
        return Taken(
            messages[0]['href'].partition('claim_id=')[2],
            [message['id'] for message in messages],
            [message['body'] for message in messages],
        )

    def release(self, queue: str, taken: Taken) -> None:
        self._ask(queue, 'DELETE', f'claims/{taken.id}')

    def total(self, queue: str) -> int:
        shown = self._ask(queue, 'GET', 'stats')
        assert set(shown) == {'messages'}
        assert set(shown['messages']) - {'oldest', 'newest'} == {
            'claimed',
            'free',
            'total',
        }
        return int(shown['messages']['total'])

    def _ask(
        self, queue: str, method: str, path: str, document: Any = None
    ) -> Any:
        more = {} if document is None else {'json': document}
        answer = self._caller.ask(method, f'/v2/queues/{queue}/{path}', **more)
        assert answer.ok, answer.text
        assert not {'OpenStack-API-Version'} & set(answer.headers)
        return answer.json() if answer.content else None


def _checked(document: Any) -> list[Mapping[str, Any]]:
    """Return messages that have the keys of 2.0 and no others."""
    for message in document['messages']:
        assert set(message) == KEYS, message
    return list(document['messages'])


def _id(href: str) -> str:
    return href.rpartition('/')[2].partition('?')[0]


class LibraryClient(OldClient):
    """python-zaqarclient, which fails on any key that it does not know."""

    def __init__(
        self, keystone: Keystone, user: User, caller: Caller, **_: Any
    ) -> None:
        options = {
            'os_auth_url': keystone.url,
            'os_username': user.name,
            'os_password': user.password,
            'os_user_domain_id': DOMAIN,
            'os_project_id': caller.project,
        }
        conf = {
            'auth_opts': {'backend': 'keystone', 'options': options},
            'client_uuid': str(uuid.uuid4()),
        }
        self._client = client.Client(caller.origin, version=2, conf=conf)

    def post(self, queue: str, *bodies: Any) -> None:
        self._client.queue(queue).post(
            [{'body': body, 'ttl': TTL} for body in bodies]
        )

    def bodies(self, queue: str) -> list[Any]:
        page = self._client.queue(queue).messages(echo=True, limit=20)
        return [message.body for message in page]

    def claim(self, queue: str) -> Taken | None:
        claim = self._client.queue(queue).claim(ttl=TTL, grace=60, limit=10)
        messages = list(claim)
        if not messages:
            return None
        return Taken(
            claim.id,
            [_id(message.href) for message in messages],
            [message.body for message in messages],
        )

    def release(self, queue: str, taken: Taken) -> None:
        self._client.queue(queue).claim(id=taken.id).delete()

    def total(self, queue: str) -> int:
        return int(self._client.queue(queue).stats['messages']['total'])


class SdkClient(OldClient):
    """openstacksdk without a version."""

    def __init__(
        self, keystone: Keystone, user: User, caller: Caller, **_: Any
    ) -> None:
        cloud = openstack.connection.Connection(
            auth={
                'auth_url': keystone.url,
                'username': user.name,
                'password': user.password,
                'user_domain_id': DOMAIN,
                'project_id': caller.project,
            },
            region_name='RegionOne',
        )
        # 4.22 looks for the id of a claim in its own idea of where a cloud is.
        cloud._get_current_location = lambda **_more: None
        self._proxy = cloud.message

    def post(self, queue: str, *bodies: Any) -> None:
        self._proxy.post_message(
            queue, [{'body': body, 'ttl': TTL} for body in bodies]
        )

    def bodies(self, queue: str) -> list[Any]:
        page = self._proxy.messages(queue, limit=20, echo=True)
        return [message.body for message in page]

    def claim(self, queue: str) -> Taken | None:
        claim = self._proxy.create_claim(queue, ttl=TTL, grace=60)
        if not claim.messages:
            return None
        return Taken(
            claim.messages[0]['href'].partition('claim_id=')[2],
            [message['id'] for message in claim.messages],
            [message['body'] for message in claim.messages],
        )

    def release(self, queue: str, taken: Taken) -> None:
        self._proxy.delete_claim(queue, taken.id)

    def total(self, queue: str) -> int:
        answer = self._proxy.get(
            f'/queues/{queue}/stats',
            headers={'Client-ID': str(uuid.uuid4())},
        )
        return int(answer.json()['messages']['total'])


class CommandClient(OldClient):
    """``openstack messaging``."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._client = '--client-id', str(uuid.uuid4())

    def post(self, queue: str, *bodies: Any) -> None:
        messages = [{'body': body, 'ttl': TTL} for body in bodies]
        words = 'message', 'post', queue, json.dumps(messages)
        self._shell.do(*words, *self._client)

    def bodies(self, queue: str) -> list[Any]:
        words = 'message', 'list', queue, '--echo', '--limit', '20'
        _, rows = self._shell.show(*words, *self._client)
        return [row['Body'] for row in rows]

    def claim(self, queue: str) -> Taken | None:
        _, rows = self._shell.show('claim', 'create', queue)
        if not rows:
            return None
        return Taken(
            rows[0]['Claim_ID'],
            [row['Message_ID'] for row in rows],
            [row['Messages'] for row in rows],
        )

    def release(self, queue: str, taken: Taken) -> None:
        self._shell.do('claim', 'release', queue, taken.id)

    def total(self, queue: str) -> int:
        _, shown = self._shell.show('queue', 'stats', queue)
        return int(shown['Stats']['messages']['total'])
