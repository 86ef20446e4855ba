# SPDX-License-Identifier: Apache-2.0
"""Routing of requests to operations, by pecan with a router of our own.

pecan guesses content types from dots in names, redirects to trailing slashes,
honours ``?_method=`` and spends most of its time on inspecting controllers'
arguments. Here it looks up one table and calls one function.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pecan.core import PecanBase, RoutingState

from zaqar.api import client_project_queue_checks, operation_table
from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation import Operation
from zaqar.errors import InvalidRequest, MethodNotAllowed, NoRoute, ZaqarError
from zaqar.transport import caller_identity
from zaqar.transport.large_page_fairness import TURN, Turn
from zaqar.transport.wsgi import request_reading, response_views
from zaqar.transport.wsgi.responses import Response, error_response
from zaqar.transport.wsgi_types import Environ

LOG = logging.getLogger(__name__)

METHODS = frozenset(
    (
        *('CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS'),
        *('PATCH', 'POST', 'PUT', 'TRACE'),
    )
)


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


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The node of a path, with the values of the path."""

    node: RouteNode
    values: dict[str, str]


class RootController:
    """The only controller of pecan.

    :param verified: whether keystonemiddleware has set the identity headers
    """

    def __init__(self, dispatcher: Dispatcher, *, verified: bool) -> None:
        self._dispatcher = dispatcher
        self._verified = verified
        self._tree = tree(dispatcher.serves)

    def _route(self, path: str) -> RouteMatch:
        node: RouteNode | None = self._tree
        values: dict[str, str] = {}
        for step in path.split('/')[1:]:
            child = node.steps.get(step) if node else None
            if child is None and node and node.value:
                name, child = node.value
                values[name] = step
            node = child
        if node is None or not node.methods:
            raise NoRoute
        return RouteMatch(node, values)

    def handle(self, environ: Environ) -> Response:
        """Handle a request. The order of checks is part of the API."""
        method = environ['REQUEST_METHOD']
        if method not in METHODS:
            raise InvalidRequest('Invalid HTTP method', title='Bad request')
        path = _path(environ)
        match = self._route(path)
        request_reading.refuse_form(environ)
        request_reading.check_accept(environ)
        identity = caller_identity.identity(
            environ, self._dispatcher.limits, verified=self._verified
        )
        scope = client_project_queue_checks.scope(
            identity.project, match.values
        )
        if method == 'OPTIONS':
            return Response(200, headers=_allow(match.node))
        operation = match.node.methods.get(method)
        if operation is None:
            raise MethodNotAllowed(headers=_allow(match.node))
        turn: Turn | None = environ.get(TURN)
        if turn is not None and not turn.begin(
            operation.name, identity.project
        ):
            return Response(503)
        result = self._dispatcher.run(
            operation,
            identity,
            scope=scope,
            path=client_project_queue_checks.without_scope(match.values),
            values=request_reading.query(environ),
            read_body=functools.partial(request_reading.read_body, environ),
        )
        if turn is not None:
            turn.weigh(result)
        return response_views.VIEWS[operation.name](result, scope, path)


class PecanApplication(PecanBase):  # type: ignore[misc]
    """pecan without argument mapping, rendering, hooks and thread locals.

    They would cost several times as much as the rest of a request.
    """

    def __init__(self, root: RootController) -> None:
        super().__init__(
            root,
            default_renderer='json',
            force_canonical=False,
            guess_content_type_from_ext=False,
        )

    def find_controller(self, state: RoutingState) -> Any:
        """Return the function to call with its arguments."""
        return self.root.handle, (state.request.environ,), {}

    def invoke_controller(
        self, controller: Any, args: Any, kwargs: Any, state: RoutingState
    ) -> None:
        """Call the controller and convert exceptions to responses."""
        try:
            state.response = controller(*args, **kwargs)
        except ZaqarError as error:
            state.response = error_response(error)
        except Exception:
            # Details of an unforeseen error are for the log alone.
            LOG.exception('A request failed')
            state.response = error_response(ZaqarError(None))

    def _handle_empty_response_body(self, state: RoutingState) -> None:
        """Leave the response as it is."""


def _path(environ: Environ) -> str:
    """Return the path; bytes that are not UTF-8 match no route."""
    path: str = environ.get('PATH_INFO', '')
    if not path.isascii():
        path = path.encode('latin-1').decode('utf-8', 'replace')
    return path


def _allow(node: RouteNode) -> dict[str, str]:
    return {'Allow': ', '.join([*sorted(node.methods), 'OPTIONS'])}
