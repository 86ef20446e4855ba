# SPDX-License-Identifier: Apache-2.0
"""Requests for every row of the table, about things that are there."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zaqar import service_assembly
from zaqar.api import operation_table
from zaqar.api.microversion_negotiation import HEADER, MAX, MIN
from zaqar.api.operation import Operation
from zaqar.api.operation_declarations import topics
from zaqar.tests.functional.http.client import PATCH, Api, Response

#: Stands in every message, subscription and queue that is made; whoever sees
#: it sees what is not his.
SECRET = 'attack-at-dawn'

#: Bodies by operation, those of topics like those of queues.
_DOCUMENTS: dict[str, Any] = {
    'queue_create': {'n': 1},
    'queue_update': [{'op': 'add', 'path': '/metadata/n', 'value': 2}],
    'queue_purge': {'resource_types': ['messages', 'subscriptions']},
    'queue_share': {'methods': ['GET']},
    'message_post': {'messages': [{'body': 'forged'}]},
    'claim_create': {'ttl': 60},
    'claim_update': {'ttl': 600},
    'redrive_create': {'to': 'elsewhere'},
    'claim_settle': {'delete': ['f' * 32]},
    'subscription_create': {'subscriber': 'http://example.org/forged'},
    'subscription_update': {'ttl': 600},
    'subscription_confirm': {'confirmed': True},
    'subscription_replay': {'since': '2026-01-01T00:00:00Z'},
    'pool_update': {'weight': 7},
    'quota_update': {'quotas': {'queues': 100000}},
}

#: What makes a request of a row do something.
_QUERIES = {
    'queue_list': '?detailed=true&with_count=true',
    'message_list': '?echo=true&include_claimed=true',
    'message_delete_many': '?ids={message_id}',
    'pool_list': '?detailed=true',
    'pool_get': '?detailed=true',
    'flavor_list': '?detailed=true',
}

PROTECTED = [row for row in operation_table.OPERATIONS if row.http]


@dataclass(frozen=True)
class Caller:
    """Somebody with a token who asks an application in this process."""

    api: Api
    token: str
    project: str

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        **headers: str,
    ) -> Response:
        """Send a request with the token."""
        sent = {'X-Auth-Token': self.token, 'Content-Type': PATCH, **headers}
        return send(self.api, method, path, document, sent)


def send(
    api: Api,
    method: str,
    path: str,
    document: Any,
    headers: Mapping[str, str],
) -> Response:
    """Send a request with nothing but these headers and a Client-ID.

    In the newest version, which has all operations.
    """
    more = {} if document is None else {'document': document}
    sent = {'X-Project-ID': None, HEADER: MAX.header, **headers}
    response: Response = api(method, path, headers=sent, **more)
    return response


@dataclass(frozen=True)
class Place:
    """A queue and a topic of one name with all there can be in them.

    :ivar values: what stands for the names in the paths of the table
    """

    owner: Caller
    values: Mapping[str, str]

    def request(self, row: Operation) -> tuple[str, str, Any]:
        """Return method, path and document of a row."""
        values = dict(self.values)
        name = row.name
        if row.path.startswith('/v2/topics'):
            name = topics.model(row)
            prefix = 'topic:'
            values |= {
                key.removeprefix(prefix): value
                for key, value in values.items()
                if key.startswith(prefix)
            }
        path = row.path + _QUERIES.get(name, '')
        path = re.sub(r'{(\w+)}', lambda match: values[match[1]], path)
        document = _DOCUMENTS.get(name)
        if name == 'pool_create':
            document = {'uri': values['uri'], 'weight': 5}
        elif name in ('flavor_create', 'flavor_update'):
            document = {'pool_list': [values['flavored']]}
        return row.method, path, document

    def state(self) -> list[Any]:
        """Return all there is to see of it."""
        paths = ['/v2/pools?detailed=true', '/v2/flavors?detailed=true']
        for kind in ('queues', 'topics'):
            base = f'/v2/{kind}/{self.values["queue_name"]}'
            paths += [
                *(base, f'{base}/stats', f'{base}/subscriptions'),
                f'{base}/messages?echo=true&include_claimed=true',
            ]
        paths.append(
            f'/v2/queues/{self.values["queue_name"]}/claims/'
            f'{self.values["claim_id"]}'
        )
        return [self._seen(path) for path in paths]

    def tidy(self) -> None:
        """Remove what belongs to no project."""
        self.owner.ask('DELETE', f'/v2/flavors/{self.values["flavor_name"]}')
        for key in ('flavored', 'pool_name'):
            self.owner.ask('DELETE', f'/v2/pools/{self.values[key]}')

    def _seen(self, path: str) -> Any:
        answer = self.owner.ask('GET', path, **{HEADER: MIN.header})
        text = answer.body.decode()
        # What only shows that time passes.
        return answer.status, re.sub(r'"age":\s*\d+', '', text)


def make(owner: Caller, folder: str) -> Place:
    """Make a place of the owner's, who is an administrator."""
    name = f'{SECRET}-{secrets.token_hex(4)}'
    values = {'queue_name': name, 'topic_name': name}
    values['project_id'] = owner.project
    for kind, prefix in (('queues', ''), ('topics', 'topic:')):
        filled = _fill(owner, f'/v2/{kind}/{name}')
        values |= {prefix + key: value for key, value in filled.items()}
    values |= {'pool_name': f'{name}-pool', 'flavored': f'{name}-fast'}
    for key in ('flavored', 'pool_name'):
        uri = f'sqlite:///{folder}/{values[key]}.sqlite'
        # Of no weight: the queues stay together.
        document = {'uri': uri, 'weight': 0}
        done = owner.ask('PUT', f'/v2/pools/{values[key]}', document)
        assert done.status == 201, done
    values |= {'uri': uri, 'flavor_name': f'flavor-{secrets.token_hex(4)}'}
    path = f'/v2/flavors/{values["flavor_name"]}'
    done = owner.ask('PUT', path, {'pool_list': [values['flavored']]})
    assert done.status == 201, done
    return Place(owner, values)


def _fill(owner: Caller, base: str) -> dict[str, str]:
    """Put something of everything into a queue or topic."""
    assert owner.ask('PUT', base, {'kept': SECRET}).status == 201
    body = {'messages': [{'body': SECRET}, {'body': SECRET}]}
    posted = owner.ask('POST', f'{base}/messages', body).json['resources']
    values = {'message_id': posted[1].rpartition('/')[2]}
    if '/queues/' in base:
        claimed = owner.ask('POST', f'{base}/claims?limit=1', {'ttl': 600})
        values['claim_id'] = claimed.headers['location'].rpartition('/')[2]
        # It has ended, so that there may be another one.
        redriven = owner.ask('POST', f'{base}/redrive', {'to': 'elsewhere'})
        values['redrive_id'] = redriven.json['redrive_id']
        owner.ask('DELETE', redriven.headers['location'])
    there = {'subscriber': f'http://example.org/{SECRET}'}
    subscription = owner.ask('POST', f'{base}/subscriptions', there).json
    values['attempt_id'] = 'none'
    return {**values, 'subscription_id': subscription['subscription_id']}


def application(built: service_assembly.Service) -> Api:
    """Return the application of a service, as nobody asks it."""
    return dataclasses.replace(Api(built), project='', roles=None)
