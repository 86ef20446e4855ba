# SPDX-License-Identifier: Apache-2.0
"""Routes of operations, as a tree of the steps of paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from zaqar.api import operation_table
from zaqar.api.operation import Operation
from zaqar.errors import NoRoute


@dataclass(slots=True)
class RouteNode:
    """A step of a path.

    :ivar steps: the next steps by their text
    :ivar value: the next step if it may be any text, with its name
    :ivar methods: operations of the path that ends here
    """

    steps: dict[str, RouteNode] = field(default_factory=dict)
    value: tuple[str, RouteNode] | None = None
    methods: dict[str, Operation] = field(default_factory=dict)

    def grow(self, step: str) -> RouteNode:
        """Return the node of the next step, which is added if missing."""
        if not step.startswith('{'):
            return self.steps.setdefault(step, RouteNode())
        if self.value is None:
            self.value = (step[1:-1], RouteNode())
        return self.value[1]


def tree(serves: Callable[[Operation], bool]) -> RouteNode:
    """Return the routes of all operations that are served, as a tree."""
    root = RouteNode()
    for path, methods in operation_table.routes().items():
        served = {m: row for m, row in methods.items() if serves(row)}
        node = root
        for step in path.split('/')[1:]:
            node = node.grow(step)
        node.methods.update(served)
    # The home document is served without the final slash, too.
    root.steps['v2'].methods.update(root.steps['v2'].steps[''].methods)
    return root


class RouteMatch(msgspec.Struct, frozen=True):
    """The node of a path, with the values of the path."""

    node: RouteNode
    values: dict[str, str]


def match(root: RouteNode, path: str) -> RouteMatch:
    """Return the node of a path.

    :raises NoRoute: no operation has the path
    """
    node = root
    values: dict[str, str] = {}
    for step in path.split('/')[1:]:
        if step in node.steps:
            node = node.steps[step]
        elif node.value is not None:
            name, node = node.value
            values[name] = step
        else:
            raise NoRoute
    if not node.methods:
        raise NoRoute
    return RouteMatch(node, values)
