# SPDX-License-Identifier: Apache-2.0
"""A service in Keystone with limits of projects."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from zaqar.tests.servers.keystone import Keystone, User


@contextlib.contextmanager
def limited(keystone: Keystone, kind: str) -> Iterator[tuple[str, str]]:
    """Have a service with limits for the length of a block.

    :returns: its id, and that of its endpoint
    """
    system, url = keystone.system(), keystone.url
    body: Any = {'service': {'type': kind, 'name': kind}}
    service = system.post(f'{url}/services', json=body).json()['service']['id']
    place = {'service_id': service, 'interface': 'public', 'url': 'http://a.b'}
    answer = system.post(f'{url}/endpoints', json={'endpoint': place})
    try:
        yield service, answer.json()['endpoint']['id']
    finally:
        for kinds in ('limits', 'registered_limits'):
            for one in system.get(f'{url}/{kinds}').json()[kinds]:
                system.delete(f'{url}/{kinds}/{one["id"]}')
        system.delete(f'{url}/services/{service}')


def limit(
    keystone: Keystone, service: str, project: str, resource: str, most: int
) -> None:
    """Set the limit of a project."""
    one = {
        'service_id': service,
        'project_id': project,
        'resource_name': resource,
        'resource_limit': most,
    }
    keystone.system().post(f'{keystone.url}/limits', json={'limits': [one]})


def system_user(keystone: Keystone) -> User:
    """Make an administrator of the system."""
    user, system = keystone.user(), keystone.system()
    answer = system.get(f'{keystone.url}/roles?name=admin')
    role = answer.json()['roles'][0]['id']
    system.put(f'{keystone.url}/system/users/{user.id}/roles/{role}')
    return user
