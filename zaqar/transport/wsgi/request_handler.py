# SPDX-License-Identifier: Apache-2.0
"""Handling of requests: checks, operation and response."""

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

from zaqar.api import client_project_queue_checks, microversion_negotiation
from zaqar.api.dispatch import Dispatcher
from zaqar.api.operation import Operation
from zaqar.api.requests_with_wait import WAIT
from zaqar.controllers import idempotency_key
from zaqar.errors import InvalidRequest, MethodNotAllowed, ZaqarError
from zaqar.event_loop_greenlets import offload
from zaqar.identity import Identity
from zaqar.microversion_constants import Version
from zaqar.objects import Scope
from zaqar.transport import caller_identity
from zaqar.transport.large_page_fairness import LARGE
from zaqar.transport.page_turn_and_message_wait import TURN, Turn
from zaqar.transport.project_page_lengths import SHORT
from zaqar.transport.wsgi import (
    event_stream_requests,
    header_checks_query_and_body_reading,
    microversion_headers,
    response_views,
    router,
    waiting_requests_in_threads,
)
from zaqar.transport.wsgi.responses import JSON, Response, error_response
from zaqar.transport.wsgi.waiting_requests_in_threads import WaitingInThreads
from zaqar.transport.wsgi_types import Environ

LOG = logging.getLogger(__name__)

_OFFLOAD: Callable[..., Any] = offload

#: Key of a request's environment.
_IDEMPOTENCY_KEY = 'HTTP_' + idempotency_key.HEADER.upper().replace('-', '_')

METHODS = frozenset(
    (
        *('CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS'),
        *('PATCH', 'POST', 'PUT', 'TRACE'),
    )
)


class RootController:
    """The only controller of pecan.

    :param waiting: has requests wait, unless their turns do
    :param verified: whether keystonemiddleware has set the identity headers
    :param offers: tells which operations there are
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        offers: Callable[[Operation], bool],
        waiting: WaitingInThreads,
        *,
        verified: bool,
    ) -> None:
        self._dispatcher = dispatcher
        self._waiting = waiting
        self._callers = caller_identity.Callers(
            dispatcher.limits, verified=verified
        )
        self._trees = {
            version: router.tree(
                functools.partial(self._serves, offers, version)
            )
            for version in microversion_negotiation.ALL
        }

    def _serves(
        self,
        offers: Callable[[Operation], bool],
        version: Version,
        operation: Operation,
    ) -> bool:
        return offers(operation) and self._dispatcher.serves(
            operation, version
        )

    def handle(self, environ: Environ) -> Response:
        """Handle a request. The order of checks is part of the API."""
        method = environ['REQUEST_METHOD']
        if method not in METHODS:
            raise InvalidRequest('Invalid HTTP method', title='Bad request')
        version = microversion_negotiation.MIN
        if microversion_headers.KEY in environ:
            version = microversion_headers.version(environ)
        path = environ.get('PATH_INFO', '')
        if not path.isascii():
            # Bytes that are not UTF-8 match no route.
            path = path.encode('latin-1').decode('utf-8', 'replace')
        match = router.match(self._trees[version], path)
        if 'CONTENT_TYPE' in environ and environ['CONTENT_TYPE'] != JSON:
            header_checks_query_and_body_reading.refuse_form(environ)
        methods, operation = match.node.methods, None
        if method in methods:
            operation = methods[method]
        stream = None
        if (
            'HTTP_ACCEPT' in environ
            and environ['HTTP_ACCEPT']
            not in header_checks_query_and_body_reading.ACCEPTED
        ):
            stream = event_stream_requests.chosen(operation, environ)
            if stream is None:
                header_checks_query_and_body_reading.check_accept(environ)
        identity = self._callers.identity(environ, needs_client=stream is None)
        values = match.values
        scope = client_project_queue_checks.take_scope(
            identity.project, values
        )
        if method == 'OPTIONS':
            return Response(200, headers=_allow(match.node))
        if operation is None:
            raise MethodNotAllowed(headers=_allow(match.node))
        turn: Turn | None = environ.get(TURN)
        name = (stream or operation).name
        if turn is not None and not turn.begin(name, identity.project):
            return Response(503)
        if stream is not None:
            return self._begin(stream, identity, scope, values, environ)
        query = environ.get('QUERY_STRING', '')
        run: Callable[..., Any] = functools.partial(
            self._dispatcher.run,
            operation,
            identity,
            scope=scope,
            path=values,
            values=header_checks_query_and_body_reading.query(query)
            if query
            else header_checks_query_and_body_reading.NO_QUERY,
            version=version,
        )
        if _IDEMPOTENCY_KEY in environ:
            run = functools.partial(run, key=environ[_IDEMPOTENCY_KEY])
        read_body = functools.partial(
            header_checks_query_and_body_reading.read_body, environ
        )
        view = response_views.VIEWS[version][operation.name]
        if turn is not None:
            if turn.is_taken or (
                turn.longest >= SHORT
                # Each item may be as long as a page was.
                and turn.longest
                * header_checks_query_and_body_reading.most_items(query)
                >= LARGE
            ):
                # Of a page that may be large, in no event loop.
                run = functools.partial(_OFFLOAD, run)
                view = functools.partial(_OFFLOAD, view)
            result = run(read_body=read_body, request=turn)
            if turn.is_missed:
                return Response(503)
            turn.weigh(result)
            if turn.holds_up_loop:
                # Of a project without such pages so far.
                view = functools.partial(_OFFLOAD, view)
            is_refused = turn.is_refused
        elif WAIT not in query and (
            # Below 2.1 nothing waits.
            version == microversion_negotiation.MIN
            or operation.default_wait(version) is None
        ):
            return view(run(read_body=read_body), scope, path)
        else:
            read_once = waiting_requests_in_threads.read_once(read_body)
            result, is_refused = self._waiting.run(
                environ,
                lambda request: run(read_body=read_once, request=request),
            )
        response = view(result, scope, path)
        if is_refused:
            response.headers = {**response.headers, 'Retry-After': '1'}
        return response

    def _begin(
        self,
        stream: Operation,
        identity: Identity,
        scope: Scope | None,
        path: Mapping[str, str],
        environ: Environ,
    ) -> Response:
        """Begin a stream; the ``Accept`` header has named the version."""
        values = header_checks_query_and_body_reading.query(
            environ.get('QUERY_STRING', '')
        )
        start = self._dispatcher.run(
            stream,
            identity,
            scope=scope,
            path=path,
            values=event_stream_requests.with_last_event(environ, values),
            read_body=lambda *_: None,
            version=stream.since,
        )
        return event_stream_requests.hand_over(environ, start)


def failure(error: Exception) -> Response:
    """Return the response to a request that failed."""
    if not isinstance(error, ZaqarError):
        # Details of an unforeseen error are for the log alone.
        LOG.error('A request failed', exc_info=error)
        error = ZaqarError(None)
    return error_response(error)


def _allow(node: router.RouteNode) -> dict[str, str]:
    return {'Allow': ', '.join([*sorted(node.methods), 'OPTIONS'])}
