# SPDX-License-Identifier: Apache-2.0
"""Whoever asks the service."""

from __future__ import annotations

import dataclasses
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from zaqar.tests.servers.keystone import Keystone


@dataclass(frozen=True)
class Caller:
    """A client of the service at ``origin``.

    :ivar token: what it shows, None for nothing
    :ivar project: its own project, '' for none
    """

    origin: str
    token: str | None = None
    project: str = ''
    client: str = field(default_factory=lambda: str(uuid.uuid4()))

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | None] | None = None,
        **more: Any,
    ) -> requests.Response:
        """Send a request.

        :param headers: these beside or instead of its own; None as a value
            leaves one out
        :param more: as for ``requests``
        """
        own = {'X-Auth-Token': self.token, 'Client-ID': self.client}
        sent = {**own, **(headers or {})}
        return requests.request(
            method,
            self.origin + path,
            headers={k: v for k, v in sent.items() if v is not None},
            timeout=30,
            allow_redirects=False,
            **more,
        )

    def at(self, origin: str) -> Caller:
        """Return the same caller of another service."""
        return dataclasses.replace(self, origin=origin)

    def showing(self, token: str | None) -> Caller:
        """Return the same caller with another token."""
        return dataclasses.replace(self, token=token)

    def owns(
        self, queue: str, headers: Mapping[str, str | None] | None = None
    ) -> bool:
        """Tell whether a queue is in its list."""
        page = self.ask('GET', f'/v2/queues?name={queue}', headers).json()
        return [item['name'] for item in page['queues']] == [queue]

    def make(
        self, queue: str, headers: Mapping[str, str | None] | None = None
    ) -> requests.Response:
        """Make a queue."""
        return self.ask('PUT', f'/v2/queues/{queue}', headers, json={})

    def post(self, queue: str, **more: Any) -> requests.Response:
        """Post one message."""
        body = {'messages': [{'ttl': 300, 'body': {'event': 'made'}}]}
        path = f'/v2/queues/{queue}/messages'
        return self.ask('POST', path, json=body, **more)


def join(keystone: Keystone, origin: str, project: str, *roles: str) -> Caller:
    """Return a caller with roles in a project."""
    token = keystone.token(keystone.user(project, *roles), project)
    return Caller(origin, token, project)


def queue_name() -> str:
    """Return a name that no queue has."""
    return f'jobs-{secrets.token_hex(6)}'
