# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::Subscription`` and ``OS::Zaqar::MistralTrigger``."""

from __future__ import annotations

import copy
import json
from typing import Any

from heat.common import exception
from heat.engine import attributes, constraints, properties, support

from . import zaqar_base, zaqar_rest, zaqar_retry_policy

QUEUE_NAME, SUBSCRIBER, TTL = 'queue_name', 'subscriber', 'ttl'
OPTIONS, RETRY_POLICY = 'options', 'retry_policy'

#: About 7,000 years, which stands for no end.
_FOR_EVER = 220367260800

_SCHEMES = ('http', 'https', 'mailto', 'trust+http', 'trust+https')

# By property, the option that the service reads.
_OPTION_OF = {
    'post_headers': 'post_headers',
    'post_data': 'post_data',
    'mail_from': 'from',
    'mail_subject': 'subject',
    'filter': '_filter',
    RETRY_POLICY: '_retry_policy',
}

_STRING, _MAP = properties.Schema.STRING, properties.Schema.MAP

_COMMON_PROPERTIES = {
    QUEUE_NAME: zaqar_base.queue_schema(
        'Queue to subscribe to. It is created if it does not exist.',
        required=True,
    ),
    TTL: properties.Schema(
        properties.Schema.INTEGER,
        'Lifetime in seconds, from the creation or the last update of this '
        'property. By default it never ends.',
        default=_FOR_EVER,
        constraints=[constraints.Range(min=60)],
        update_allowed=True,
    ),
    RETRY_POLICY: zaqar_retry_policy.schema(
        'of this subscription', update_allowed=True
    ),
}


class Subscribing(zaqar_base.ZaqarResource):
    """A resource that subscribes an address to a queue."""

    queue_properties = (QUEUE_NAME,)

    named_types = {QUEUE_NAME: ('OS::Zaqar::Queue', 'OS::Zaqar::Signal')}

    attributes_schema = {
        'confirmed': attributes.Schema(
            'Whether the subscriber has confirmed the subscription.',
            type=attributes.Schema.BOOLEAN,
            cache_mode=attributes.Schema.CACHE_NONE,
        ),
        'age': attributes.Schema(
            'Seconds since the creation of the subscription.',
            type=attributes.Schema.INTEGER,
            cache_mode=attributes.Schema.CACHE_NONE,
        ),
    }

    def validate(self) -> None:
        """Check combinations of properties."""
        super().validate()
        zaqar_retry_policy.validate(self.properties[RETRY_POLICY])

    def handle_create(self) -> None:
        """Subscribe."""
        data = self.wanted()
        answer = self.zaqar().ask('POST', self._path(), data).json()
        self.resource_id_set(answer['subscription_id'])
        # The same subscriber may be subscribed already with other settings.
        self._change(self._differences(self._show_resource(), data))

    def handle_update(
        self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any
    ) -> None:
        """Update the differences, or subscribe again if it was deleted."""
        self.properties = json_snippet.properties(
            self.properties_schema, self.context
        )
        data = self.wanted()
        try:
            self._change(self._differences(self._show_resource(), data))
        except zaqar_rest.ZaqarNotFound:
            self.handle_create()

    def handle_check(self) -> None:
        """Fail if it was deleted or has expired."""
        self._show_resource()

    def handle_delete(self) -> None:
        """Unsubscribe."""
        if self.resource_id is not None:
            self.zaqar().delete(self._path(self.resource_id))

    def wanted(self) -> dict[str, Any]:
        """Return subscriber, TTL and options as the service expects them."""
        return {
            SUBSCRIBER: self._subscriber(),
            TTL: self.properties[TTL],
            OPTIONS: self._options(),
        }

    def _subscriber(self) -> str:
        """Return the URI of the subscriber."""
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        """Return the options of the subscription."""
        policy = zaqar_retry_policy.set_keys(self.properties[RETRY_POLICY])
        return {} if policy is None else {'_retry_policy': policy}

    def _path(self, subscription: str = '') -> str:
        name = self.properties[QUEUE_NAME]
        path = f'queues/{name}/subscriptions'
        return f'{path}/{subscription}' if subscription else path

    def _show_resource(self) -> Any:
        return self.zaqar().get(self._path(self.resource_id))

    @staticmethod
    def _differences(
        stored: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        # The service manages the trust; ignore it if it is shown.
        options = {
            key: value
            for key, value in (stored[OPTIONS] or {}).items()
            if key != 'trust_id'
        }
        current = {**stored, OPTIONS: options}
        return {key: data[key] for key in data if data[key] != current[key]}

    def _change(self, changes: dict[str, Any]) -> None:
        if changes:
            path = self._path(self.resource_id)
            self.zaqar().ask('PATCH', path, changes)

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None:
            return None
        return self._show_resource()[name]


class Subscription(Subscribing):
    """A subscription: delivery of messages to a URL or a mail address."""

    support_status = support.SupportStatus(version='8.0.0')

    properties_schema = {
        **_COMMON_PROPERTIES,
        SUBSCRIBER: properties.Schema(
            _STRING,
            'URI of the subscriber. Its scheme is one of '
            f'{", ".join(_SCHEMES)}; trust+http and trust+https send a token '
            'of the owner of the stack along.',
            required=True,
            update_allowed=True,
        ),
        OPTIONS: properties.Schema(
            _MAP,
            'Options of the subscription. Options with '
            'a property of their own may be set here instead.',
            update_allowed=True,
        ),
        'post_headers': properties.Schema(
            _MAP, 'Headers of the requests.', update_allowed=True
        ),
        'post_data': properties.Schema(
            _STRING,
            'Body of the requests, with "$zaqar_message$" (quotes included) '
            'in place of the message.',
            update_allowed=True,
        ),
        'mail_from': properties.Schema(
            _STRING, 'Sender of the mails.', update_allowed=True
        ),
        'mail_subject': properties.Schema(
            _STRING, 'Subject of the mails.', update_allowed=True
        ),
        'filter': properties.Schema(
            _MAP,
            'Conditions on the body of a message: by the name of a member, or '
            'a JSON pointer, a list of alternatives. Messages that do not '
            'match are not sent.',
            update_allowed=True,
        ),
    }

    def validate(self) -> None:
        """Check combinations of properties."""
        super().validate()
        subscriber = self.properties[SUBSCRIBER]
        scheme, _, rest = (subscriber or '').partition(':')
        if scheme.lower() not in _SCHEMES or not rest.strip('/'):
            raise exception.StackValidationFailed(
                message=f"The subscriber '{subscriber}' is not a URI with one "
                f'of the schemes {", ".join(_SCHEMES)}'
            )
        options = self.properties[OPTIONS] or {}
        for name, key in _OPTION_OF.items():
            if key in options and self.properties[name] is not None:
                raise exception.StackValidationFailed(
                    message=f'The property {name} and the key {key} of '
                    f'{OPTIONS} are the same; set one of them'
                )

    def parse_live_resource_data(
        self, resource_properties: Any, resource_data: Any
    ) -> dict[str, Any]:
        """Return the properties that a subscription stands for."""
        options = dict(resource_data[OPTIONS] or {})
        named = {
            name: options.pop(key, None)
            for name, key in _OPTION_OF.items()
            if resource_properties.get(name) is not None
        }
        return {
            **named,
            QUEUE_NAME: resource_data['source'],
            SUBSCRIBER: resource_data[SUBSCRIBER],
            TTL: resource_data[TTL],
            OPTIONS: options or None,
        }

    def _subscriber(self) -> str:
        return str(self.properties[SUBSCRIBER])

    def _options(self) -> dict[str, Any]:
        named = {
            key: self.properties[name]
            for name, key in _OPTION_OF.items()
            if name != RETRY_POLICY and self.properties[name] is not None
        }
        free = self.properties[OPTIONS] or {}
        return {**free, **named, **super()._options()}


class MistralTrigger(Subscribing):
    """A subscription that starts a workflow of Mistral for each message.

    The workflow gets the message in its environment, as
    ``<% env().notification %>``. It runs as the owner of the stack, with a
    trust.
    """

    support_status = support.SupportStatus(version='8.0.0')

    properties_schema = {
        **_COMMON_PROPERTIES,
        'workflow_id': properties.Schema(
            _STRING,
            'UUID of the workflow.',
            required=True,
            constraints=[constraints.CustomConstraint('mistral.workflow')],
            update_allowed=True,
        ),
        'params': properties.Schema(
            _MAP,
            'Parameters of the execution, by the type of the workflow. The '
            'message is added to its key env.',
            default={},
            update_allowed=True,
        ),
        'input': properties.Schema(
            _MAP, 'Input of the workflow.', default={}, update_allowed=True
        ),
    }

    def parse_live_resource_data(
        self, resource_properties: Any, resource_data: Any
    ) -> dict[str, Any]:
        """Return the properties that a subscription stands for."""
        options = resource_data[OPTIONS] or {}
        execution = json.loads(options.get('post_data', '{}'))
        params = execution.get('params', {})
        params.get('env', {}).pop('notification', None)
        if not params.get('env'):
            params.pop('env', None)
        return {
            QUEUE_NAME: resource_data['source'],
            TTL: resource_data[TTL],
            RETRY_POLICY: options.get('_retry_policy'),
            'workflow_id': execution.get('workflow_id'),
            'params': params,
            'input': execution.get('input'),
        }

    def _subscriber(self) -> str:
        plugin = self.client_plugin('mistral')
        url = plugin.url_for(
            service_type=plugin.WORKFLOW_V2,
            endpoint_type=plugin._get_client_option(
                'mistral', 'endpoint_type'
            ),
        )
        return f'trust+{url.rstrip("/")}/executions'

    def _options(self) -> dict[str, Any]:
        params = copy.deepcopy(dict(self.properties['params'] or {}))
        # The service replaces this, with its quotes in JSON, by the message.
        params.setdefault('env', {})['notification'] = '$zaqar_message$'
        execution = {
            'workflow_id': self.properties['workflow_id'],
            'params': params,
            'input': self.properties['input'] or {},
        }
        text = json.dumps(execution, sort_keys=True)
        return {**super()._options(), 'post_data': text}


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {
        'OS::Zaqar::Subscription': Subscription,
        'OS::Zaqar::MistralTrigger': MistralTrigger,
    }
