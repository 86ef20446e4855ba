# SPDX-License-Identifier: Apache-2.0
"""Dispatch of requests of all transports: authorize, validate, call.

A policy, a schema or a limit therefore holds for each transport alike.
"""

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from zaqar import request_deadline
from zaqar.api import (
    microversion_negotiation,
    query_parsing,
    requests_with_wait,
)
from zaqar.api.operation import Body, Operation
from zaqar.api.policy_enforcement import Authorizer
from zaqar.api.requests_with_wait import Postponable
from zaqar.controllers import idempotency_key, rate_limits, subscriptions
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.pipeline_and_confirmation_settings import Pipeline
from zaqar.errors import InvalidBody, NoRoute, StoreUnavailable, ZaqarError
from zaqar.identity import Identity
from zaqar.microversion_constants import V2_1, Version
from zaqar.objects import Scope
from zaqar.top_projects import TopProjects
from zaqar.waiting.waiters import Waiters

LOG = logging.getLogger(__name__)


class Received(msgspec.Struct, frozen=True):
    """A request body.

    :ivar text: JSON
    :ivar size: bytes on the wire, in whatever encoding
    """

    text: bytes
    size: int


#: Reads the body, after authorization: takes the declaration of the body and
#: its maximum size; returns None if the request has no body.
BodyReader = Callable[[Body, int], Received | None]

#: Takes the duration of a completed operation in seconds, its name and its
#: outcome: the status of an error, else ``2xx``.
Observe = Callable[[float, str, str], None]


class Dispatcher:
    """Runs operations.

    :param context: for operations, but for their caller
    :param observe: called after each operation
    :param top_projects: counts what projects do, None for nothing
    :param waiters: the requests that wait, None if none can
    """

    def __init__(
        self,
        authorizer: Authorizer,
        context: Context,
        observe: Observe | None = None,
        waiters: Waiters | None = None,
        top_projects: TopProjects | None = None,
    ) -> None:
        self.limits = context.limits
        self.signer = context.signer
        self.quotas = context.quotas
        self._authorizer = authorizer
        self.throttle = context.throttle
        self._context = context
        self._observe = observe
        self._top_projects = top_projects
        self.waiters = waiters

    @property
    def pipeline(self) -> Pipeline:
        """Whether subscribers are notified, and have to confirm."""
        return self._context.pipeline

    def serves(self, operation: Operation, version: Version) -> bool:
        """Tell whether a version has an operation whose features are on."""
        return (
            operation.since <= version
            and operation.needs <= self._context.features
        )

    def run(
        self,
        operation: Operation,
        identity: Identity,
        *,
        scope: Scope | None,
        path: Mapping[str, str],
        values: Mapping[str, Sequence[str]],
        read_body: BodyReader,
        version: Version = microversion_negotiation.MIN,
        request: Postponable | None = None,
        key: Any = None,
    ) -> Any:
        """Run an operation and return the result of its function.

        :param scope: see :func:`zaqar.api.client_project_queue_checks.scope`
        :param path: the other values of the path, by name
        :param values: the query, each name with all its values
        :param request: is postponed if it has to wait; then the result is
            none. Without it nothing waits.
        :param key: the header that marks it as repeatable, None without one
        :raises ZaqarError: any answer that is no success
        """
        sizes: list[int] = []
        if self._top_projects is not None:
            read_body = _noting_sizes(read_body, sizes)
        run: Callable[[], Any] = functools.partial(
            self._run,
            operation,
            identity,
            scope,
            path,
            values,
            read_body,
            version,
            request,
            key,
        )
        if self._top_projects is not None:
            run = functools.partial(
                self._counted, run, identity.project, sizes, request
            )
        if self._observe is None and not LOG.isEnabledFor(logging.DEBUG):
            return run()
        return self._observed(run, operation, scope, path, values, request)

    def _counted(
        self,
        run: Callable[[], Any],
        project: str,
        sizes: Sequence[int],
        request: Postponable | None,
    ) -> Any:
        """Run an operation, and count it for its project."""
        assert self._top_projects is not None
        status = ''
        try:
            return run()
        except ZaqarError as error:
            status = str(error.status)
            raise
        finally:
            if request is None or not request.is_missed:
                self._top_projects.add(project, sum(sizes), status)

    def _observed(
        self,
        run: Callable[[], Any],
        operation: Operation,
        scope: Scope | None,
        path: Mapping[str, str],
        values: Mapping[str, Sequence[str]],
        request: Postponable | None,
    ) -> Any:
        """Run an operation, and tell how long it took and what came of it."""
        began = time.perf_counter()
        status, outcome = '500', 'done'
        try:
            result = run()
            status = '2xx'
            return result
        except ZaqarError as error:
            status = str(error.status)
            outcome = f'{status} {error.title}'
            raise
        finally:
            seconds = time.perf_counter() - began
            if request is not None and request.is_missed:
                outcome = 'waits'
            elif self._observe is not None:
                self._observe(seconds, operation.name, status)
            LOG.debug(
                # Without the body, which may be confidential.
                '%s %s %s %s: %s after %.1f ms',
                operation.name,
                scope or '',
                path,
                values,
                outcome,
                seconds * 1000,
            )

    def forget(self, scope: Scope, subscription_id: str) -> None:
        """Delete a subscription of a closed connection, without a policy."""
        context = self._context.called_by(
            Identity(scope.project, ''), 0, microversion_negotiation.MIN
        )
        with request_deadline.within(request_deadline.REQUEST):
            subscriptions.delete(
                context, scope=scope, subscription_id=subscription_id
            )

    def _run(
        self,
        operation: Operation,
        identity: Identity,
        scope: Scope | None,
        path: Mapping[str, str],
        values: Mapping[str, Sequence[str]],
        read_body: BodyReader,
        version: Version,
        request: Postponable | None,
        key: Any,
    ) -> Any:
        if request_deadline.is_too_late():
            raise StoreUnavailable(request_deadline.TOO_MANY)
        # As serves() says.
        if (
            operation.since > version
            or not operation.needs <= self._context.features
        ):
            raise NoRoute
        # One that was woken has been counted.
        if self.throttle is not None and (
            request is None or request.ticket is None
        ):
            lack = self.throttle.take(
                identity.project, rate_limits.ONE_REQUEST, time.monotonic()
            )
            if lack is not None:
                raise self.throttle.exceeded(identity.project, lack)
        self._authorizer.check(operation.rule, identity, scope, path)
        arguments: dict[str, Any] = dict(path)
        if scope is not None:
            arguments['scope'] = scope
        query = operation.query
        if values:
            arguments |= query_parsing.parse(query, values, version)
            for name, rule in operation.rules.items():
                if arguments[name]:
                    self._authorizer.check(rule, identity, scope, path)
        elif query:
            arguments |= operation.no_query
        if operation.keep_unknown:
            arguments['filters'] = query_parsing.unknown(
                query, values, version
            )
        size = 0
        if operation.body is not None:
            most = operation.body.max_size(self.limits)
            received = read_body(operation.body, most)
            if received is not None and received.size > most:
                raise operation.body.too_large(most)
            size = received.size if received else 0
            text = received.text if received else None
            arguments['document'] = _document(operation.body, text, version)
        if operation.further is not None and scope is not None:
            self._authorizer.check_further(
                operation.further, identity, scope, arguments.get('document')
            )
        if key is not None and operation.is_idempotent and version >= V2_1:
            arguments['key'] = idempotency_key.checked(key)
        context = self._context.called_by(identity, size, version)
        handler, waiting = operation.handler, operation.waiting
        if waiting is None:
            if (
                values
                and version > microversion_negotiation.MIN
                and not operation.keep_unknown
            ):
                requests_with_wait.refuse(values)
            return self._call(operation, handler, context, arguments)
        seconds = requests_with_wait.seconds(waiting, context, arguments)
        if request is None or self.waiters is None:
            return self._call(operation, handler, context, arguments)
        if request.ticket is None:
            default = operation.default_wait(version)
            if seconds is None and default is not None:
                seconds = self._call(operation, default, context, arguments)
            if not seconds:
                return self._call(operation, handler, context, arguments)
        return requests_with_wait.attempt(
            self.waiters,
            request,
            arguments['scope'],
            waiting,
            seconds or 0,
            lambda: self._call(operation, handler, context, arguments),
        )

    def _call(
        self,
        operation: Operation,
        handler: Callable[..., Any],
        context: Context,
        arguments: Mapping[str, Any],
    ) -> Any:
        # After the body, for which the client may take its time.
        former = request_deadline.begin()
        try:
            if (
                context.identity.signed is not None
                and context.catalogue.only
                and 'scope' in arguments
            ):
                # Records of subscriptions do not tell one queue from another.
                context.catalogue.find(arguments['scope'])
            return handler(context, **arguments)
        except StoreUnavailable as error:
            raise explained(error, operation) from error
        finally:
            request_deadline.end(former)


def _noting_sizes(read_body: BodyReader, sizes: list[int]) -> BodyReader:
    """Return a reader that notes how long bodies are."""

    def read(body: Body, most: int) -> Received | None:
        received = read_body(body, most)
        if received is not None:
            sizes.append(received.size)
        return received

    return read


def _document(body: Body, raw: bytes | None, version: Version) -> Any:
    if raw is None and body.required:
        raise InvalidBody(body.absent)
    if not raw and not body.required:
        return None
    document = body.decode(raw or b'')
    if body.newer is not None:
        body.newer.unset((document,), version)
    return document


def explained(error: StoreUnavailable, row: Operation) -> StoreUnavailable:
    """Add the failure text of an operation to an error without a text."""
    return StoreUnavailable(
        error.description
        or f'{row.error_message}. Please try again in a few seconds.'
    )
