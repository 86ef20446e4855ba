# SPDX-License-Identifier: Apache-2.0
"""The parts common to queues and topics: name, metadata, typed settings."""

from __future__ import annotations

from typing import Any

from heat.common import exception
from heat.engine import attributes, constraints, properties

from . import zaqar_base, zaqar_rest, zaqar_retry_policy

NAME, METADATA, ON_DELETE = 'name', 'metadata', 'on_delete'
RETRY_POLICY = 'retry_policy'

#: By property, the metadata key that the service reads.
RESERVED = {
    'default_message_ttl': '_default_message_ttl',
    'default_message_delay': '_default_message_delay',
    'max_messages_post_size': '_max_messages_post_size',
    'encrypt_messages': '_enable_encrypt_messages',
    'flavor': '_flavor',
    'retry_policy': '_retry_policy',
    'dead_letter_queue': '_dead_letter_queue',
    'dead_letter_queue_ttl': '_dead_letter_queue_messages_ttl',
    'max_claim_count': '_max_claim_count',
    'max_messages': '_max_messages',
    'default_claim_ttl': '_default_claim_ttl',
    'default_wait': '_default_wait',
    'dedup_window': '_dedup_window',
}

_DELETE_OWN, _DELETE, _KEEP = 'delete_own', 'delete', 'keep'

# Stored with the resource if the stack created the queue or topic.
_IS_OURS = 'is_ours'


def common_properties(what: str) -> dict[str, properties.Schema]:
    """Return the properties of queues and topics.

    :param what: ``queue`` or ``topic``
    """
    kinds = properties.Schema
    return {
        NAME: zaqar_base.name_schema(what),
        METADATA: kinds(
            kinds.MAP,
            f'Arbitrary keys and values to store with the {what}. Keys '
            'with a property of their own may be set here instead.',
            update_allowed=True,
        ),
        ON_DELETE: kinds(
            kinds.STRING,
            f'What the deletion of the resource does to the {what} and its '
            f'messages: {_DELETE_OWN} deletes it if the stack created it, '
            f'{_DELETE} always deletes it, {_KEEP} keeps it.',
            default=_DELETE_OWN,
            constraints=[
                constraints.AllowedValues([_DELETE_OWN, _DELETE, _KEEP])
            ],
            update_allowed=True,
        ),
        **_settings(what),
        RETRY_POLICY: zaqar_retry_policy.schema(
            'for subscriptions without one', update_allowed=True
        ),
    }


def _settings(what: str) -> dict[str, properties.Schema]:
    kinds = properties.Schema
    return {
        'default_message_ttl': number(
            'Lifetime of messages without a TTL, in seconds.', 60
        ),
        'default_message_delay': number(
            'Delay of messages without a delay of their own, in seconds.',
            0,
        ),
        'max_messages_post_size': number(
            'Largest body of a request that posts messages, in bytes.', 1
        ),
        'encrypt_messages': kinds(
            kinds.BOOLEAN,
            f'Whether messages of the {what} are stored encrypted.',
            update_allowed=True,
        ),
        'flavor': kinds(
            kinds.STRING,
            f'Flavor of the pools that may hold the {what}, if the service '
            'has pools. Changing it needs an empty queue.',
            update_allowed=True,
        ),
    }


def number(text: str, least: int) -> properties.Schema:
    """Return a property that is a whole number and may be updated."""
    return properties.Schema(
        properties.Schema.INTEGER,
        text,
        constraints=[constraints.Range(min=least)],
        update_allowed=True,
    )


def common_attributes(what: str) -> dict[str, attributes.Schema]:
    """Return the attributes of queues and topics."""
    kinds = attributes.Schema
    return {
        'href': kinds(f'URL of the {what}.', type=kinds.STRING),
        'stats': kinds(
            'Numbers of messages, and the oldest and newest message, from the '
            'service.',
            type=kinds.MAP,
            cache_mode=kinds.CACHE_NONE,
        ),
        'curl_cli': kinds(
            'A command that posts a message, with a token in the variable '
            'OS_TOKEN.',
            type=kinds.STRING,
        ),
    }


class QueueOrTopic(zaqar_base.ZaqarResource):
    """A queue or a topic."""

    #: Part of the path: ``queues`` or ``topics``.
    collection = ''

    named_types = {'flavor': ('OS::Zaqar::Flavor',)}

    def path(self) -> str:
        """Return its path below ``/v2/``."""
        name = self.resource_id or self.physical_resource_name()
        return f'{self.collection}/{name}'

    def validate(self) -> None:
        """Check combinations of properties."""
        super().validate()
        metadata = self.properties[METADATA] or {}
        for name, key in RESERVED.items():
            if key in metadata and self.properties.get(name) is not None:
                raise exception.StackValidationFailed(
                    message=f'The property {name} and the key {key} of '
                    f'{METADATA} are the same; set one of them'
                )
        zaqar_retry_policy.validate(self.properties[RETRY_POLICY])

    def wanted(self, props: Any = None) -> dict[str, Any]:
        """Return the metadata for the properties."""
        props = props or self.properties
        metadata = dict(props[METADATA] or {})
        for name, key in RESERVED.items():
            value = props.get(name) if name in props else None
            if name == RETRY_POLICY:
                value = zaqar_retry_policy.set_keys(value)
            if value is not None:
                metadata[key] = value
        return metadata

    def handle_create(self) -> None:
        """Create it, or adopt an existing one."""
        self._make(self.wanted())

    def handle_update(
        self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any
    ) -> None:
        """Change its metadata in place."""
        before = self.wanted()
        after = self.wanted(
            json_snippet.properties(self.properties_schema, self.context)
        )
        try:
            self._patch(before, after)
        except zaqar_rest.ZaqarNotFound:
            # Somebody else has deleted it.
            self._make(after)

    def handle_check(self) -> None:
        """Fail if it was deleted, which a plain GET does not show."""
        self._send_patch([])

    def handle_delete(self) -> None:
        """Delete it, if the stack owns it."""
        how = self.properties[ON_DELETE]
        is_ours = _IS_OURS in self.data()
        if self.resource_id is None or how == _KEEP:
            return
        if how == _DELETE or is_ours:
            self.zaqar().delete(self.path())

    def parse_live_resource_data(
        self, resource_properties: Any, resource_data: Any
    ) -> dict[str, Any]:
        """Return the properties that its metadata stand for."""
        live = dict(resource_data)
        declared = self.wanted(resource_properties)
        named = {
            name: live.pop(key, None)
            for name, key in RESERVED.items()
            if name in resource_properties
            and resource_properties.get(name) is not None
        }
        # The service completes the metadata that it shows with defaults.
        shown = set(RESERVED.values()) - set(declared)
        free = {k: v for k, v in live.items() if k not in shown}
        if _IS_OURS not in self.data():
            # Other metadata of an adopted one are not the stack's.
            free = {k: v for k, v in free.items() if k in declared}
        return {**named, METADATA: free or None}

    def _make(self, metadata: dict[str, Any]) -> None:
        answer = self.zaqar().ask('PUT', self.path(), metadata)
        self.resource_id_set(self.path().rpartition('/')[2])
        if answer.status_code == 201:
            self.data_set(_IS_OURS, 'true')
        elif metadata:
            # It exists already, and PUT does not change it.
            self._patch({}, metadata)

    def _patch(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        stored = self.zaqar().get(self.path())
        gone = [key for key in before if key not in after and key in stored]
        steps = [{'op': 'remove', 'path': _pointer(key)} for key in gone]
        steps += [
            {'op': 'add', 'path': _pointer(key), 'value': value}
            for key, value in after.items()
        ]
        self._send_patch(steps)

    def _send_patch(self, steps: list[dict[str, Any]]) -> None:
        self.zaqar().ask(
            'PATCH', self.path(), steps, content_type=zaqar_rest.PATCH_TYPE
        )

    def _show_resource(self) -> Any:
        # A plain GET also succeeds if it does not exist.
        self._send_patch([])
        return self.zaqar().get(self.path())

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None:
            return None
        if name == 'href':
            return self.zaqar().public_url(self.path())
        if name == 'stats':
            return self.zaqar().get(f'{self.path()}/stats')['messages']
        if name == 'curl_cli':
            return self._curl()
        return None

    def _curl(self) -> str:
        url = self.zaqar().public_url(f'{self.path()}/messages')
        return (
            'curl -i -H "X-Auth-Token: $OS_TOKEN" '
            f"-H 'Client-ID: {self.uuid}' "
            "-H 'Content-Type: application/json' "
            f"{url} --data-binary '{_SAMPLE}'"
        )


_SAMPLE = '{"messages": [{"body": "hello"}]}'


def _pointer(key: str) -> str:
    """Return the JSON pointer of a metadata key."""
    return '/metadata/' + key.replace('~', '~0').replace('/', '~1')
