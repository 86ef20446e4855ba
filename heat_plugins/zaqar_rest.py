# SPDX-License-Identifier: Apache-2.0
"""REST calls to Zaqar on behalf of the stack's owner.

python-zaqarclient hides the status of a creation, which shows whether a queue
existed before, and does not support topics. So requests are sent through
Heat's own Keystone session, to the endpoint that Heat's client plug-in finds.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import requests
from keystoneauth1 import exceptions
from zaqarclient.transport import errors

PATCH_TYPE = 'application/openstack-messaging-v2.0-json-patch'

_MESSAGING = 'messaging'


class ZaqarRefused(errors.TransportError):
    """The service refused a request.

    :ivar code: status of the answer
    """

    def __init__(self, code: int, text: str) -> None:
        Exception.__init__(self, text)
        self.code = code


class ZaqarUnavailable(ZaqarRefused):
    """The service or one of its stores is unreachable."""


class ZaqarNotFound(ZaqarRefused, errors.ResourceNotFound):
    """The resource does not exist. Heat's ``is_not_found`` recognizes it."""


#: Errors after which a retry may succeed.
UNAVAILABLE = (ZaqarUnavailable, exceptions.ConnectionError)


class Service:
    """A client of Zaqar for the owner of a stack.

    :param plugin: Heat's client plug-in for it
    """

    def __init__(self, plugin: Any) -> None:
        self._plugin = plugin
        self._session = plugin.context.keystone_session
        kind = plugin._get_client_option('zaqar', 'endpoint_type')
        self._origin = plugin.url_for(
            service_type=_MESSAGING, endpoint_type=kind
        ).rstrip('/')

    def public_url(self, path: str) -> str:
        """Return the public URL of a path."""
        origin = self._plugin.url_for(
            service_type=_MESSAGING, endpoint_type='publicURL'
        )
        return f'{origin.rstrip("/")}/v2/{path}'

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        content_type: str = 'application/json',
        version: str = '2.1',
    ) -> requests.Response:
        """Send a request and return the answer, if it succeeded.

        :param path: below ``/v2/``
        :param body: a JSON value; None for no body
        :param version: of the API; by default the oldest one that checks all
            settings. An older service ignores it
        :raises ZaqarNotFound: the answer was 404
        :raises ZaqarUnavailable: the answer was 502, 503 or 504
        :raises ZaqarRefused: the answer was another error
        """
        more = {} if body is None else {'json': body}
        answer: requests.Response = self._session.request(
            f'{self._origin}/v2/{path}',
            method,
            params=query,
            headers={
                'Client-ID': str(uuid.uuid4()),
                'Content-Type': content_type,
                'OpenStack-API-Version': f'messaging {version}',
            },
            raise_exc=False,
            connect_retries=2,
            # A store may be unreachable for a moment.
            retriable_status_codes=[503],
            status_code_retries=2,
            **more,
        )
        if answer.status_code >= 400:
            kind = _kind(answer.status_code)
            text = f'Zaqar answered {answer.status_code} to {method} '
            raise kind(
                answer.status_code, f'{text}/v2/{path}: {_explain(answer)}'
            )
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON document at a path."""
        return self.ask('GET', path, query=query or None).json()

    def delete(self, path: str) -> None:
        """Delete the resource at a path; a missing one is no error."""
        try:
            self.ask('DELETE', path)
        except ZaqarNotFound:
            return


def _kind(status: int) -> type[ZaqarRefused]:
    """Return the exception for the status of an answer."""
    if status == 404:
        return ZaqarNotFound
    return ZaqarUnavailable if status in (502, 503, 504) else ZaqarRefused


def _explain(answer: requests.Response) -> str:
    """Return the description of an error."""
    try:
        error = answer.json()
        return f'{error["title"]}. {error["description"]}'
    except (ValueError, KeyError, TypeError):
        return answer.text[:200] or str(answer.reason)
