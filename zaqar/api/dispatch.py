# SPDX-License-Identifier: Apache-2.0
"""The one way in: authorize, validate, call.

Both transports end here, so that a policy, a schema or a limit holds
whichever way a request came.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from zaqar.api import query_parameters
from zaqar.api.features import Feature
from zaqar.api.operation import Body, Operation
from zaqar.api.policies import Authorizer
from zaqar.controllers import subscriptions
from zaqar.controllers.context import Context
from zaqar.controllers.encryption import Cipher
from zaqar.controllers.limits import Limits
from zaqar.controllers.pipeline import Pipeline
from zaqar.controllers.signatures import Signer
from zaqar.controllers.trusts import Trusts
from zaqar.errors import InvalidBody, NoRoute, StoreUnavailable, ZaqarError
from zaqar.models import Identity, Scope
from zaqar.pools.catalogue import Catalogue

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """The body of a request.

    :ivar text: as JSON
    :ivar size: bytes that were received for it, in whatever encoding
    """

    text: bytes
    size: int


#: Reads the body once the caller may: given the most bytes worth reading
#: beyond the limit, returns it, or None if the request has none.
BodyReader = Callable[[Body, int], Received | None]

#: Given the name of an operation that is over, its outcome (a status that is
#: an error, else ``2xx``) and the seconds it took.
Observe = Callable[[str, str, float], None]

NO_PIPELINE = Pipeline()


class Dispatcher:
    """Runs operations.

    :param authorizer: asks the policy
    :param catalogue: where the data is
    :param limits: what an operator has set
    :param signer: proves pre-signed requests
    :param cipher: seals bodies of encrypted queues
    :param features: what is served beyond the API that everybody sees
    :param pipeline: whether subscribers are told of posts
    :param trusts: makes trusts for subscribers who want tokens
    :param observe: is told of each operation when it is over
    """

    def __init__(
        self,
        authorizer: Authorizer,
        catalogue: Catalogue,
        limits: Limits,
        signer: Signer,
        cipher: Cipher,
        features: Set[Feature] = frozenset(),
        pipeline: Pipeline = NO_PIPELINE,
        trusts: Trusts | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._authorizer = authorizer
        self._catalogue = catalogue
        self._features = features
        self.limits = limits
        self.signer = signer
        self._cipher = cipher
        self._pipeline = pipeline
        self._trusts = trusts
        self._observe = observe

    def serves(self, operation: Operation) -> bool:
        """Tell whether there is this operation here."""
        return operation.needs <= self._features

    def run(
        self,
        operation: Operation,
        identity: Identity,
        *,
        scope: Scope | None,
        path: Mapping[str, str],
        values: Mapping[str, Sequence[str]],
        read_body: BodyReader,
    ) -> Any:
        """Run an operation and return what its function returns.

        :param scope: see :func:`zaqar.api.identity_checks.scope`
        :param path: the further values of the path, by name
        :param values: the query, each name with all its values
        :raises ZaqarError: everything that is not success
        """
        call = functools.partial(
            self._run, operation, identity, scope, path, values, read_body
        )
        if self._observe is not None:
            call = functools.partial(
                _observed, self._observe, operation.name, call
            )
        if not LOG.isEnabledFor(logging.DEBUG):
            return call()
        # What was asked for; never bodies, which are not ours to read.
        what = f'{operation.name} {scope or ""} {path} {values}'
        return _logged(what, call)

    def forget(self, scope: Scope, subscription_id: str) -> None:
        """End a subscription whose connection is gone; ask no policy.

        :raises StoreUnavailable: not now
        """
        context = self._context(Identity(scope.project, ''), 0)
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
    ) -> Any:
        if not self.serves(operation):
            raise NoRoute
        self._authorizer.check(operation.rule, identity, scope, path)
        arguments: dict[str, Any] = dict(path)
        if scope is not None:
            arguments['scope'] = scope
        if operation.query:
            arguments |= query_parameters.parse(operation.query, values)
        if operation.keep_unknown:
            arguments['filters'] = query_parameters.unknown(
                operation.query, values
            )
        size = 0
        if operation.body is not None:
            found = self._read(operation.body, read_body)
            size = found.size if found else 0
            text = found.text if found else None
            arguments['document'] = _document(operation.body, text)
        context = self._context(identity, size)
        try:
            return operation.call(context, **arguments)
        except StoreUnavailable as error:
            raise explained(error, operation) from error

    def _context(self, identity: Identity, size: int) -> Context:
        return Context(
            identity,
            self._catalogue,
            self.limits,
            size,
            self.signer,
            self._cipher,
            self._features,
            self._pipeline,
            self._trusts,
        )

    def _read(self, body: Body, read_body: BodyReader) -> Received | None:
        most = body.max_size(self.limits)
        found = read_body(body, most)
        if found is not None and found.size > most:
            raise body.too_large(most)
        return found


def _observed(observe: Observe, name: str, call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    outcome = '500'
    try:
        found = call()
        outcome = '2xx'
        return found
    except ZaqarError as error:
        outcome = str(error.status)
        raise
    finally:
        observe(name, outcome, time.perf_counter() - began)


def _logged(what: str, call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    outcome = 'done'
    try:
        return call()
    except ZaqarError as error:
        outcome = f'{error.status} {error.title}'
        raise
    finally:
        spent = (time.perf_counter() - began) * 1000
        LOG.debug('%s: %s after %.1f ms', what, outcome, spent)


def _document(body: Body, raw: bytes | None) -> Any:
    if raw is None and body.required:
        raise InvalidBody(body.absent)
    if raw or body.required:
        return body.decode(raw or b'')
    return None


def explained(
    error: StoreUnavailable, operation: Operation
) -> StoreUnavailable:
    """Say what has failed, unless the error says so itself."""
    return StoreUnavailable(
        error.description
        or f'{operation.failure}. Please try again in a few seconds.'
    )
