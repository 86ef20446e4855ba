# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: pecan, reduced to one table and one function.

pecan guesses content types from dots in names, redirects to trailing slashes,
honours ``?_method=`` and spends most of its time on inspecting controllers'
arguments. Here it calls one controller, which looks up one table.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from zaqar.transport.wsgi.pecan_without_optional_libraries import (
    PecanBase,
    PecanHook,
    RoutingState,
)
from zaqar.transport.wsgi.request_handler import RootController, failure
from zaqar.transport.wsgi.responses import Response
from zaqar.transport.wsgi_types import Environ, StartResponse


class _Request:
    """The part of a request of WebOb that pecan uses."""

    __slots__ = ('context', 'environ', 'pecan')

    def __init__(self, environ: Environ) -> None:
        self.environ = environ


class PecanApplication(PecanBase):  # type: ignore[misc]
    """pecan without argument mapping, rendering, WebOb and locals.

    They would cost several times as much as the rest of a request. Without
    hooks, nothing of pecan is left to be done.

    :param hooks: of pecan, around every request; WebOb's attributes are absent
    """

    def __init__(
        self, root: RootController, hooks: Sequence[PecanHook] = ()
    ) -> None:
        super().__init__(
            root,
            hooks=list(hooks),
            default_renderer='json',
            force_canonical=False,
            guess_content_type_from_ext=False,
            request_cls=_Request,
            response_cls=object,
        )

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer a request; through pecan only if there are hooks to run."""
        if self.hooks:
            body: Iterable[bytes] = super().__call__(environ, start_response)
            return body
        try:
            response: Response = self.root.handle(environ)
        except Exception as error:
            response = failure(error)
        return response(environ, start_response)

    def find_controller(self, state: RoutingState) -> Any:
        """Return the function to call with its arguments."""
        environ = state.request.environ
        # Both would stay, with the body, until garbage is collected.
        del environ['pecan.locals']
        return self.root.handle, (environ,), {}

    def invoke_controller(
        self, controller: Any, args: Any, kwargs: Any, state: RoutingState
    ) -> None:
        """Call the controller and convert exceptions to responses."""
        try:
            state.response = controller(*args, **kwargs)
        except Exception as error:
            state.response = failure(error)

    def _handle_empty_response_body(self, state: RoutingState) -> None:
        """Leave the response as it is."""
