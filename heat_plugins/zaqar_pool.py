# SPDX-License-Identifier: Apache-2.0
"""``OS::Zaqar::Pool`` and ``OS::Zaqar::Flavor``, for administrators."""

from __future__ import annotations

import time
from typing import Any

from heat.common import exception
from heat.engine import attributes, constraints, properties, support

from . import zaqar_base, zaqar_rest

NAME, URI, WEIGHT, FLAVOR = 'name', 'uri', 'weight', 'flavor'
OPTIONS, POOL_LIST = 'options', 'pool_list'

_KINDS = properties.Schema

# Part of the error for a pool that has pending deliveries, and seconds for
# which its deletion is retried.
_PENDING, _DELETE_TIMEOUT = 'yet to be delivered', 300


class Administered(zaqar_base.ZaqarResource):
    """A resource for administrators of the service."""

    #: Part of the path, and the name of one of its resources.
    collection = ''
    what = ''

    def handle_create(self) -> None:
        """Create it, unless the name is taken."""
        name = self.physical_resource_name()
        self._probe()
        if self._exists(name):
            raise exception.Error(
                f'There is a {self.what} {name} already, which this stack did '
                'not create; choose another name or delete it'
            )
        self.zaqar().ask('PUT', f'{self.collection}/{name}', self._wanted())
        self.resource_id_set(name)

    def handle_update(
        self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any
    ) -> None:
        """Update it in place, or create it again if it was deleted."""
        self.properties = json_snippet.properties(
            self.properties_schema, self.context
        )
        if not self._exists(self.resource_id):
            self._probe()
            self.zaqar().ask('PUT', self._path(), self._wanted())
        else:
            self.zaqar().ask('PATCH', self._path(), self._changed())

    def handle_check(self) -> None:
        """Fail if it was deleted."""
        self._show_resource()

    def handle_delete(self) -> Any:
        """Start the deletion."""
        if self.resource_id is not None:
            self.zaqar().delete(self._path())

    def _wanted(self) -> dict[str, Any]:
        """Return the document of its creation."""
        raise NotImplementedError

    def _changed(self) -> dict[str, Any]:
        """Return the document of its update."""
        return self._wanted()

    def _path(self) -> str:
        return f'{self.collection}/{self.resource_id}'

    def _show_resource(self) -> Any:
        return self.zaqar().get(self._path(), detailed='true')

    def _exists(self, name: str) -> bool:
        try:
            self.zaqar().get(f'{self.collection}/{name}')
        except zaqar_rest.ZaqarNotFound:
            return False
        return True

    def _probe(self) -> None:
        """Explain why it cannot be created."""
        try:
            self.zaqar().get('pools', limit=1)
        except zaqar_rest.ZaqarNotFound:
            raise exception.Error(
                f'This Zaqar has no {self.collection}: it needs admin_mode '
                'and pooling in the section [DEFAULT] of zaqar.conf'
            ) from None
        except zaqar_rest.ZaqarRefused as refused:
            if refused.code != 403:
                raise
            raise exception.Error(
                f'Only an administrator of Zaqar may create a {self.what}: '
                f'{refused}'
            ) from None

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None:
            return None
        if name == 'href':
            return self.zaqar().public_url(self._path())
        return self._show_resource()[name]


class Pool(Administered):
    """A message store, for administrators of a service with pools."""

    support_status = support.SupportStatus(status=support.SUPPORTED)

    collection, what = 'pools', 'pool'

    properties_schema = {
        NAME: zaqar_base.name_schema('pool'),
        URI: _KINDS(
            _KINDS.STRING,
            'URI of the store. Use a hidden parameter if it holds a password.',
            required=True,
            constraints=[constraints.Length(min=1, max=255)],
            update_allowed=True,
        ),
        WEIGHT: _KINDS(
            _KINDS.INTEGER,
            'Share of new queues that go to the pool; 0 for none.',
            required=True,
            constraints=[constraints.Range(min=0, max=4294967295)],
            update_allowed=True,
        ),
        FLAVOR: _KINDS(
            _KINDS.STRING,
            'Flavor of the pool. Set it here or in the '
            'pool_list of the flavor, not in both.',
            constraints=[constraints.Length(max=255)],
            update_allowed=True,
        ),
        OPTIONS: _KINDS(
            _KINDS.MAP,
            'Options of the driver for this pool.',
            default={},
            update_allowed=True,
        ),
    }

    attributes_schema = {
        'href': attributes.Schema(
            'URL of the pool.', type=attributes.Schema.STRING
        ),
        'flavor': attributes.Schema(
            'Flavor of the pool.',
            type=attributes.Schema.STRING,
            cache_mode=attributes.Schema.CACHE_NONE,
        ),
    }

    def handle_delete(self) -> float:
        """Start the deletion; return its deadline."""
        return time.monotonic() + _DELETE_TIMEOUT

    def check_delete_complete(self, ends: float) -> bool:
        """Delete it, once its pending deliveries are done."""
        if self.resource_id is None:
            return True
        try:
            self.zaqar().delete(self._path())
        except zaqar_rest.ZaqarRefused as refused:
            if _PENDING not in str(refused) or time.monotonic() > ends:
                raise
            return False
        return True

    def _wanted(self) -> dict[str, Any]:
        document = {key: self.properties[key] for key in (URI, WEIGHT)}
        document[OPTIONS] = self.properties[OPTIONS] or {}
        if self.properties[FLAVOR]:
            document[FLAVOR] = self.properties[FLAVOR]
        return document

    def _changed(self) -> dict[str, Any]:
        stored = self._show_resource()
        wanted = self._wanted()
        if FLAVOR in self._previous and FLAVOR not in wanted:
            # An empty name removes the pool from its flavor.
            wanted[FLAVOR] = ''
        changes = {k: v for k, v in wanted.items() if v != stored.get(k)}
        return changes or {WEIGHT: wanted[WEIGHT]}

    def handle_update(
        self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any
    ) -> None:
        """Update it in place, or create it again if it was deleted."""
        self._previous = self._wanted()
        super().handle_update(json_snippet, tmpl_diff, prop_diff)


class Flavor(Administered):
    """A set of pools that queues can request, for administrators."""

    support_status = support.SupportStatus(status=support.SUPPORTED)

    collection, what = 'flavors', 'flavor'

    named_types = {POOL_LIST: ('OS::Zaqar::Pool',)}

    properties_schema = {
        NAME: zaqar_base.name_schema('flavor'),
        POOL_LIST: _KINDS(
            _KINDS.LIST,
            'Names of the pools of the flavor.',
            schema=_KINDS(_KINDS.STRING),
            required=True,
            constraints=[constraints.Length(min=1)],
            update_allowed=True,
        ),
    }

    attributes_schema = {
        'href': attributes.Schema(
            'URL of the flavor.', type=attributes.Schema.STRING
        ),
        'capabilities': attributes.Schema(
            'Capabilities of the pools of the flavor.',
            type=attributes.Schema.LIST,
            cache_mode=attributes.Schema.CACHE_NONE,
        ),
    }

    def _wanted(self) -> dict[str, Any]:
        return {POOL_LIST: list(self.properties[POOL_LIST])}


def resource_mapping() -> dict[str, type]:
    """Return the resource types."""
    return {'OS::Zaqar::Pool': Pool, 'OS::Zaqar::Flavor': Flavor}
