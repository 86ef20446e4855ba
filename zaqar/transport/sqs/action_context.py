# SPDX-License-Identifier: Apache-2.0
"""What an action works with: the project, its queues, operations to run."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from zaqar.api import (
    client_project_queue_checks,
    microversion_negotiation,
    operation_table,
)
from zaqar.api.dispatch import Dispatcher, Received
from zaqar.api.requests_with_wait import Postponable
from zaqar.errors import InvalidRequest, ZaqarError
from zaqar.identity import Identity
from zaqar.transport.sqs import faults, queue_urls_arns_and_receipts
from zaqar.transport.sqs.faults import Fault

_ENCODER = msgspec.json.Encoder()

#: Runs something that may wait for messages.
Waits = Callable[[Callable[[Postponable | None], Any]], Any]


class Caller(msgspec.Struct, frozen=True):
    """Who has signed a request, and for which region."""

    identity: Identity
    region: str


class ActionContext:
    """What an action works with, for one request.

    :param endpoint: as the client wrote it
    :param path_queue: the path of the queue that the request was sent to, ''
        if it was sent to the endpoint
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        caller: Caller,
        endpoint: str,
        path_queue: str,
        waits: Waits,
    ) -> None:
        self.limits = dispatcher.limits
        self.project = caller.identity.project
        self.region = caller.region
        self._dispatcher = dispatcher
        self._identity = caller.identity
        self._endpoint = endpoint
        self._path_queue = path_queue
        self._waits = waits

    def queue(self, queue_url: str | None) -> str:
        """Return the name of the queue that a request is about.

        :raises Fault: there is none, or it is of another project
        """
        address = queue_url or self._path_queue
        if not address:
            raise faults.missing('QueueUrl')
        return self.own(queue_urls_arns_and_receipts.of_url(address))

    def own(self, queue: queue_urls_arns_and_receipts.QueueName) -> str:
        """Return the name of a queue.

        :raises Fault: it is of another project
        """
        if queue.project != self.project:
            raise Fault(
                'AccessDenied',
                f'Access to queue {queue.name} of another project is denied.',
            )
        return self.checked(queue.name)

    def checked(self, name: str) -> str:
        """Return a name that a queue can have.

        :raises Fault: it can be none
        """
        try:
            client_project_queue_checks.scope(
                self.project, {'queue_name': name}
            )
        except InvalidRequest:
            raise Fault(
                'InvalidParameterValue',
                'The name of a queue has 1 to 64 letters, digits, hyphens, '
                'underscores and points.',
            ) from None
        return name

    def url(self, name: str) -> str:
        return queue_urls_arns_and_receipts.url(
            self._endpoint, self.project, name
        )

    def arn(self, name: str) -> str:
        return queue_urls_arns_and_receipts.arn(
            self.region, self.project, name
        )

    def run(
        self,
        action: str,
        queue: str = '',
        /,
        *,
        query: Mapping[str, object] | None = None,
        document: Any = None,
        size: int | None = None,
        may_wait: bool = False,
        **path: str,
    ) -> Any:
        """Run an operation; return what its function returns.

        :param queue: its name
        :param query: values that are None are left out
        :param size: of the body, if it is not that of the document
        :param path: the other values of the path
        :raises ZaqarError: any answer that is no success
        """
        scope = client_project_queue_checks.scope(
            self.project, {'queue_name': queue} if queue else {}
        )
        values = {
            name: [str(value)]
            for name, value in (query or {}).items()
            if value is not None
        }
        received: Received | None = None
        if document is not None:
            text = _ENCODER.encode(document)
            received = Received(text, len(text) if size is None else size)

        def attempt(request: Postponable | None) -> Any:
            return self._dispatcher.run(
                operation_table.BY_ACTION[action],
                self._identity,
                scope=scope,
                path=path,
                values=values,
                read_body=lambda *_: received,
                version=microversion_negotiation.MAX,
                request=request,
            )

        return self._waits(attempt) if may_wait else attempt(None)

    def describe(self, queue: str) -> dict[str, Any]:
        """Return the metadata of a queue.

        :raises Fault: it does not exist
        """
        try:
            shown: dict[str, Any] = self.run(
                'queue_get', queue, query={'existing': 'true'}
            )
        except ZaqarError as error:
            raise faults.of(error) from error
        return shown
