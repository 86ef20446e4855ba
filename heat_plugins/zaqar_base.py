# SPDX-License-Identifier: Apache-2.0
"""The parts common to all resource types: failures, and names of queues."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from heat.common import exception
from heat.engine import constraints, properties, resource, translation

from . import zaqar_rest

#: Longest name of a queue, a topic, a pool or a flavor.
NAME_LIMIT = 64

NAME = r'[A-Za-z0-9_.-]{1,64}'

#: Name of our constraint: the name of a queue, or a link to it.
QUEUE_CONSTRAINT = 'zaqar.queue_name'

_LINK = re.compile(rf'(?:[^?#]*/)?queues/({NAME})/?')


class Names:
    """Resolves a queue name in a template."""

    @staticmethod
    def find(value: Any) -> Any:
        """Return the name in a link to a queue, and other values as is."""
        match = _LINK.fullmatch(value) if isinstance(value, str) else None
        return match.group(1) if match else value


class QueueNameConstraint(constraints.BaseCustomConstraint):
    """A name that a queue can have, or a link to a queue."""

    message = (
        'The name of a queue (1 to 64 of A-Z a-z 0-9 _ . -), or the href of '
        'one.'
    )

    def validate(self, value: Any, context: Any) -> bool:
        """Return whether a value is a queue name or a link to a queue."""
        return re.fullmatch(NAME, str(Names.find(value))) is not None

    def error(self, value: Any) -> str:
        """Return the error for an invalid value."""
        return (
            f"'{value}' is not a valid queue name: 1 to 64 letters, digits, "
            'underscores, dots or hyphens'
        )


class ZaqarResource(resource.Resource):
    """A resource stored in Zaqar."""

    default_client_name = 'zaqar'

    physical_resource_name_limit = NAME_LIMIT

    #: A missing resource is created again in place: a replacement might have
    #: the same name, and removing the old one would remove it, too.
    always_replace_on_check_failed = False

    #: Properties that hold the name of a queue, or a link to one.
    queue_properties: tuple[str, ...] = ()

    #: By property, which types of resources a literal name may mean.
    named_types: dict[str, tuple[str, ...]] = {}

    _is_gone = False

    def zaqar(self) -> zaqar_rest.Service:
        """Return the service."""
        return zaqar_rest.Service(self.client_plugin())

    def needs_replace_failed(self) -> bool:
        """Return whether a failed resource must be replaced."""
        return self.resource_id is None

    def get_live_resource_data(self) -> Any:
        """Return the resource from the service, None if it does not exist.

        Heat calls this before an update if ``observe_on_update`` is set, and
        would replace a missing resource.
        """
        try:
            return super().get_live_resource_data()
        except exception.EntityNotFound:
            self._is_gone = True
            return None

    def _needs_update(self, *args: Any, **kwargs: Any) -> bool:
        # Heat calls a failed resource complete if the template is the same.
        must = self._is_gone or self.status == self.FAILED
        return super()._needs_update(*args, **kwargs) or must

    def translation_rules(self, properties: Any) -> list[Any]:
        """Turn links to queues into their names."""
        return [
            translation.TranslationRule(
                properties,
                translation.TranslationRule.RESOLVE,
                [name],
                client_plugin=Names(),
                finder='find',
            )
            for name in self.queue_properties
        ]

    def add_dependencies(self, deps: Any) -> None:
        """Depend on resources of the stack that are named, not referred to."""
        super().add_dependencies(deps)
        for name, kinds in self.named_types.items():
            value = _early_value(self, name)
            names = value if isinstance(value, list) else [value]
            for other in self._of_types(kinds):
                target = _early_value(other, 'name')
                if target is not None and target in map(Names.find, names):
                    deps += (self, other)

    def _of_types(self, kinds: Iterable[str]) -> list[Any]:
        return [
            other
            for other in self.stack.values()
            if other is not self and any(map(other.has_interface, kinds))
        ]

    def physical_resource_name(self) -> str:
        """Return the name in the template, or a generated one."""
        if 'name' in self.properties and self.properties['name'] is not None:
            return str(self.properties['name'])
        generated = super().physical_resource_name()
        # A template may give a resource any name.
        return re.sub('[^A-Za-z0-9_.-]', '_', generated)


def _early_value(each: Any, name: str) -> Any:
    """Return a property of a resource if its value is set before creation."""
    try:
        return each.properties.get(name)
    except (ValueError, TypeError, exception.StackValidationFailed):
        # The validation that follows reports errors in properties.
        return None


def name_schema(what: str) -> properties.Schema:
    """Return the property ``name`` of a queue, a pool and the like."""
    return properties.Schema(
        properties.Schema.STRING,
        f'Name of the {what}: letters, digits, underscores, dots and '
        'hyphens. By default Heat makes one.',
        constraints=[
            constraints.Length(min=1, max=NAME_LIMIT),
            constraints.AllowedPattern('[A-Za-z0-9_.-]+'),
        ],
    )


def queue_schema(text: str, **more: Any) -> properties.Schema:
    """Return a property that names a queue."""
    return properties.Schema(
        properties.Schema.STRING,
        text,
        constraints=[constraints.CustomConstraint(QUEUE_CONSTRAINT)],
        **more,
    )


def constraint_mapping() -> dict[str, type]:
    """Return the constraint for Heat."""
    return {QUEUE_CONSTRAINT: QueueNameConstraint}
