# SPDX-License-Identifier: Apache-2.0
"""Somebody who makes stacks."""

from __future__ import annotations

import pathlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests
import yaml

from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.servers.heat import PLUGINS

VERSION = '2018-08-31'

#: Sample templates.
TEMPLATES = PLUGINS / 'templates'

#: Seconds a stack may take.
PATIENCE = 180.0

Found = TypeVar('Found')


class Refused(Exception):
    """Heat refused a request; the text is what it says."""


@dataclass(frozen=True)
class User:
    """A user of Heat and of the service.

    :ivar url: Heat's API with the project
    :ivar zaqar: the same user, as a caller of the service
    """

    url: str
    zaqar: Caller

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Send a request to Heat and return the JSON value it answers.

        :raises Refused: an error
        """
        answer = requests.request(
            method,
            self.url + path,
            json=body or None,
            headers={'X-Auth-Token': str(self.zaqar.token)},
            timeout=60,
        )
        if answer.status_code >= 400:
            # A fault of Heat itself has no message.
            raise Refused(answer.json()['error'].get('message', answer.text))
        # An update is accepted with a body that is no JSON.
        return answer.json() if answer.status_code in (200, 201) else None

    def create(
        self, resources: Mapping[str, Any] | pathlib.Path, **more: Any
    ) -> Stack:
        """Begin to make a stack.

        :param resources: those of the template, or its file
        :param more: ``parameters``, ``environment``, ``outputs``
        """
        name = f'stack-{secrets.token_hex(4)}'
        text = _template(resources, more.pop('outputs', {}))
        body = {'stack_name': name, 'template': text, **more}
        stack = self.ask('POST', '/stacks', **body)['stack']
        return Stack(self, f'/stacks/{name}/{stack["id"]}', name)

    def done(
        self, resources: Mapping[str, Any] | pathlib.Path, **more: Any
    ) -> Stack:
        """Make a stack."""
        return self.create(resources, **more).reaches('CREATE_COMPLETE')


@dataclass(frozen=True)
class Stack:
    """A stack."""

    user: User
    path: str
    name: str = field(default='', compare=False)

    def show(self) -> dict[str, Any]:
        """Return what Heat says of it."""
        stack: dict[str, Any] = self.user.ask('GET', self.path)['stack']
        return stack

    def reaches(self, status: str) -> Stack:
        """Wait until it is done, which must be in this way."""
        shown = until(self._is_done, f'{status} of a stack')
        assert shown['stack_status'] == status, shown['stack_status_reason']
        return self

    def fails(self, status: str) -> str:
        """Wait until it has failed and return why."""
        self.reaches(status)
        return str(self.show()['stack_status_reason'])

    def update(
        self, resources: Mapping[str, Any] | pathlib.Path, **more: Any
    ) -> Stack:
        """Begin to change it."""
        text = _template(resources, more.pop('outputs', {}))
        self.user.ask('PUT', self.path, template=text, **more)
        return self

    def updated(
        self, resources: Mapping[str, Any] | pathlib.Path, **more: Any
    ) -> Stack:
        """Change it."""
        return self.update(resources, **more).reaches('UPDATE_COMPLETE')

    def check(self) -> Stack:
        """Begin to check it."""
        self.user.ask('POST', f'{self.path}/actions', check=None)
        return self

    def delete(self) -> None:
        """Begin to delete it."""
        self.user.ask('DELETE', self.path)

    def deleted(self) -> None:
        """Delete it."""
        self.delete()
        self.reaches('DELETE_COMPLETE')

    def output(self, name: str) -> Any:
        """Return one of its outputs."""
        output = self.user.ask('GET', f'{self.path}/outputs/{name}')['output']
        assert 'output_error' not in output, output
        return output['output_value']

    def resource(self, name: str) -> dict[str, Any]:
        """Return what Heat says of a resource, attributes and all."""
        path = f'{self.path}/resources/{name}'
        resource: dict[str, Any] = self.user.ask('GET', path)['resource']
        return resource

    def attribute(self, name: str, which: str) -> Any:
        """Return an attribute of a resource."""
        path = f'{self.path}/resources/{name}?with_attr={which}'
        return self.user.ask('GET', path)['resource']['attributes'][which]

    def id_of(self, name: str) -> str:
        """Return what a resource is called outside Heat."""
        return str(self.resource(name)['physical_resource_id'])

    def reasons(self, name: str) -> list[str]:
        """Return the texts of the events of a resource."""
        path = f'{self.path}/resources/{name}/events'
        events = self.user.ask('GET', path)['events']
        return [str(event['resource_status_reason']) for event in events]

    def _is_done(self) -> dict[str, Any] | None:
        shown = self.show()
        going_on = shown['stack_status'].endswith('_IN_PROGRESS')
        return None if going_on else shown


def until(ask: Callable[[], Found | None], what: str) -> Found:
    """Ask until there is an answer, and return it."""
    end = time.monotonic() + PATIENCE
    while True:
        result = ask()
        if result:
            return result
        assert time.monotonic() < end, f'{what} has not come'
        time.sleep(0.1)


def _template(
    resources: Mapping[str, Any] | pathlib.Path, outputs: Mapping[str, Any]
) -> str:
    if isinstance(resources, pathlib.Path):
        return resources.read_text()
    return yaml.safe_dump(
        {
            'heat_template_version': VERSION,
            'resources': resources,
            'outputs': {k: {'value': v} for k, v in outputs.items()},
        }
    )
