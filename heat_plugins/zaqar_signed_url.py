# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::SignedQueueURL``, and signatures for it and for signals."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import Any
from urllib import parse

from heat.engine import attributes, constraints, properties, support

from . import zaqar_base

QUEUE, PATHS, TTL, METHODS = 'queue', 'paths', 'ttl', 'methods'

#: Seconds that a URL is good for by default.
DAY = 86400

_DATA = 'signed'


class Signing(zaqar_base.ZaqarResource):
    """A resource with a signature for a queue."""

    def sign(
        self,
        queue: str,
        paths: Sequence[str] | None,
        methods: Sequence[str] | None,
        ttl: int | None,
    ) -> None:
        """Create a signature and store it.

        :param ttl: seconds that it is good for
        """
        ttl = ttl or DAY
        body = {
            'paths': list(paths or ['messages']),
            'methods': list(methods or ['GET']),
            'expires': f'{_now() + datetime.timedelta(seconds=ttl):%FT%T}',
        }
        # From 2.1 on a URL is for a queue that exists already, and ends with
        # it; stacks may make theirs later.
        signed = (
            self.zaqar()
            .ask('POST', f'queues/{queue}/share', body, version='2.0')
            .json()
        )
        self.data_set(_DATA, json.dumps({**signed, 'ttl': ttl}), redact=True)

    def signed(self) -> dict[str, Any] | None:
        """Return the signed values, None before that."""
        text = self.data().get(_DATA)
        signed: dict[str, Any] | None = json.loads(text) if text else None
        return signed

    def is_half_over(self) -> bool:
        """Return whether more than half of the lifetime is over."""
        signed = self.signed()
        if signed is None:
            return False
        ends = datetime.datetime.fromisoformat(signed['expires'])
        left = (ends - _now()).total_seconds()
        return left < int(signed['ttl']) / 2


class SignedQueueURL(Signing):
    """A pre-signed URL: access to a queue without a token.

    A stack update renews the signature if more than half of its lifetime is
    over. To have Aodh post to the queue, give it ``zaqar://?`` followed by the
    attribute ``query_str``.
    """

    support_status = support.SupportStatus(version='8.0.0')

    queue_properties = (QUEUE,)

    named_types = {QUEUE: ('OS::Zaqar::Queue', 'OS::Zaqar::Signal')}

    properties_schema = {
        QUEUE: zaqar_base.queue_schema(
            'Queue to give access to. It need not exist.', required=True
        ),
        PATHS: properties.Schema(
            properties.Schema.LIST,
            'Parts of the queue to give access to (messages by default).',
            schema=properties.Schema(
                properties.Schema.STRING,
                constraints=[
                    constraints.AllowedValues(
                        ['messages', 'claims', 'subscriptions']
                    )
                ],
            ),
            update_allowed=True,
        ),
        TTL: properties.Schema(
            properties.Schema.INTEGER,
            'Lifetime of the URL in seconds (one day by default).',
            constraints=[constraints.Range(min=1)],
            update_allowed=True,
        ),
        METHODS: properties.Schema(
            properties.Schema.LIST,
            'HTTP methods to permit (GET by default).',
            schema=properties.Schema(
                properties.Schema.STRING,
                constraints=[
                    constraints.AllowedValues(
                        ['GET', 'DELETE', 'PATCH', 'POST', 'PUT']
                    )
                ],
            ),
            update_allowed=True,
        ),
    }

    attributes_schema = {
        'signature': attributes.Schema(
            'The signature, in hexadecimal digits.',
            type=attributes.Schema.STRING,
        ),
        'expires': attributes.Schema(
            'Expiry time of the URL, in UTC.', type=attributes.Schema.STRING
        ),
        'paths': attributes.Schema(
            'Paths covered by the signature.',
            type=attributes.Schema.LIST,
        ),
        'methods': attributes.Schema(
            'Methods covered by the signature.',
            type=attributes.Schema.LIST,
        ),
        'project': attributes.Schema(
            'Project of the queue.', type=attributes.Schema.STRING
        ),
        'query_str': attributes.Schema(
            'All values as a URI query, with queue_name and project_id.',
            type=attributes.Schema.STRING,
        ),
    }

    def handle_create(self) -> None:
        """Sign the URL."""
        self._sign(self.properties)
        self.resource_id_set(self.physical_resource_name())

    def handle_update(
        self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any
    ) -> None:
        """Sign the URL again."""
        props = json_snippet.properties(self.properties_schema, self.context)
        self._sign(props)

    def signed(self) -> dict[str, Any] | None:
        """Return the signed values, None before that.

        Heat's own type of this name stores them under other keys: a stack that
        was created with it keeps its URL.
        """
        data = self.data()
        if _DATA in data or 'signature' not in data:
            return super().signed()
        texts = {key: data[key] for key in ('signature', 'expires', 'project')}
        lists = {key: json.loads(data[key]) for key in (PATHS, METHODS)}
        return {**texts, **lists, TTL: self.properties[TTL] or DAY}

    def _needs_update(self, *args: Any, **kwargs: Any) -> bool:
        return super()._needs_update(*args, **kwargs) or self.is_half_over()

    def _sign(self, props: Any) -> None:
        self.sign(props[QUEUE], props[PATHS], props[METHODS], props[TTL])

    def _resolve_attribute(self, name: str) -> Any:
        signed = self.signed()
        if signed is None:
            return None
        if name != 'query_str':
            return signed[name]
        return parse.urlencode(
            {
                'signature': signed['signature'],
                'expires': signed['expires'],
                'paths': ','.join(signed['paths']),
                'methods': ','.join(signed['methods']),
                'project_id': signed['project'],
                'queue_name': self.properties[QUEUE],
            }
        )


def _now() -> datetime.datetime:
    """Return the time in UTC, in the format of signatures."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {'OS::Zaqar::SignedQueueURL': SignedQueueURL}
