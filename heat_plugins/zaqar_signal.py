# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::Signal``: signals from outside to a stack."""

from __future__ import annotations

import json
from typing import Any

from heat.engine import attributes, constraints, properties, support

from . import zaqar_base, zaqar_rest, zaqar_signed_url

NAME, TTL = 'name', 'ttl'

_IS_OURS = 'is_ours'

#: Longest and shortest lifetime of a message, in seconds.
_LONGEST, _SHORTEST = 1209600, 60

_TEXT = attributes.Schema.STRING


class Signal(zaqar_signed_url.Signing):
    """A queue for signals, and a pre-signed URL for posting to it.

    A program with the URL posts a message with one HTTP call, without
    credentials. Its body has ``status`` (SUCCESS or FAILURE) and, optionally,
    ``reason``, ``data`` and ``id``, as with Heat's wait conditions.
    OS::Zaqar::SignalWait waits for it. The URL is renewed only if ``ttl``
    changes, because Heat replaces servers whose user data changes.
    """

    support_status = support.SupportStatus(status=support.SUPPORTED)

    properties_schema = {
        NAME: zaqar_base.name_schema('queue'),
        TTL: properties.Schema(
            properties.Schema.INTEGER,
            'Lifetime of the URL and of signals, in seconds (of signals, 14 '
            'days at most).',
            default=zaqar_signed_url.DAY,
            constraints=[constraints.Range(min=_SHORTEST)],
            update_allowed=True,
        ),
    }

    attributes_schema = {
        'endpoint': attributes.Schema('URL to post to.', type=_TEXT),
        'headers': attributes.Schema(
            'Headers of the request, with the signature.',
            type=attributes.Schema.MAP,
        ),
        'body_success': attributes.Schema(
            'Body of a request that signals success. Each request '
            'counts; add an id to the inner body to count repeated ones '
            'once.',
            type=_TEXT,
        ),
        'body_failure': attributes.Schema(
            'Body of a request that signals failure. Add a reason to the '
            'inner body for the error of the stack.',
            type=_TEXT,
        ),
        'curl_cli': attributes.Schema(
            'A curl command with all headers. Append --data-binary and a body '
            'in single quotes.',
            type=_TEXT,
        ),
        'expires': attributes.Schema('When the URL ends, in UTC.', type=_TEXT),
    }

    def handle_create(self) -> None:
        """Create the queue and sign the URL."""
        self._make(self.properties[TTL])

    def handle_update(
        self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any
    ) -> None:
        """Sign the URL again, and create the queue if it is missing."""
        props = json_snippet.properties(self.properties_schema, self.context)
        self._make(props[TTL])

    def handle_check(self) -> None:
        """Fail if the queue was deleted."""
        self._patch([])

    def handle_delete(self) -> None:
        """Delete the queue, unless it existed before the stack."""
        if self.resource_id is not None and _IS_OURS in self.data():
            self.zaqar().delete(f'queues/{self.resource_id}')

    def _make(self, ttl: int) -> None:
        """Create the queue and sign the URL, if not done yet.

        :param ttl: seconds that the URL is good for
        """
        queue = self.resource_id or self.physical_resource_name()
        key, value = '_default_message_ttl', _message_ttl(ttl)
        answer = self.zaqar().ask('PUT', f'queues/{queue}', {key: value})
        self.resource_id_set(queue)
        if answer.status_code == 201:
            self.data_set(_IS_OURS, 'true')
        elif _IS_OURS in self.data():
            path = f'/metadata/{key}'
            self._patch([{'op': 'add', 'path': path, 'value': value}])
        signed = self.signed()
        if signed is None or signed['ttl'] != ttl:
            self.sign(queue, ['messages'], ['POST'], ttl)

    def _patch(self, steps: list[dict[str, Any]]) -> None:
        path = f'queues/{self.resource_id}'
        kind = zaqar_rest.PATCH_TYPE
        self.zaqar().ask('PATCH', path, steps, content_type=kind)

    def _show_resource(self) -> Any:
        return self.zaqar().get(f'queues/{self.resource_id}')

    def _resolve_attribute(self, name: str) -> Any:
        signed = self.signed()
        if signed is None:
            return None
        if name == 'expires':
            return signed['expires']
        if name == 'headers':
            return self._headers(signed)
        if name == 'body_success':
            return _body({'status': 'SUCCESS'})
        if name == 'body_failure':
            return _body({'status': 'FAILURE'})
        url = self.zaqar().public_url(f'queues/{self.resource_id}/messages')
        return url if name == 'endpoint' else self._curl(signed, url)

    def _headers(self, signed: dict[str, Any]) -> dict[str, str]:
        return {
            'Content-Type': 'application/json',
            'Client-ID': str(self.uuid),
            'X-Project-ID': signed['project'],
            'URL-Signature': signed['signature'],
            'URL-Expires': signed['expires'],
            'URL-Methods': ','.join(signed['methods']),
            'URL-Paths': ','.join(signed['paths']),
        }

    def _curl(self, signed: dict[str, Any], url: str) -> str:
        headers = self._headers(signed).items()
        shown = ' '.join(f"-H '{name}: {value}'" for name, value in headers)
        # curl fails if the service refuses the request, and retries if it is
        # unreachable.
        return f"curl -sS --fail --retry 5 -X POST {shown} '{url}'"


def _message_ttl(ttl: int) -> int:
    return min(max(ttl, _SHORTEST), _LONGEST)


def _body(signal: dict[str, str]) -> str:
    return json.dumps({'messages': [{'body': signal}]})


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {'OS::Zaqar::Signal': Signal}
