# SPDX-License-Identifier: Apache-2.0
"""Check that a queue exists, for requests that are refused where it does not.

Otherwise such a queue reads as an empty one, and a post creates it.
"""

from typing import TypeVar

from zaqar.controllers.caller_and_services import Context
from zaqar.errors import NotFound
from zaqar.objects import Scope
from zaqar.pools.queue_catalogue import Call

T = TypeVar('T')


def missing(scope: Scope) -> NotFound:
    """Return the error for a queue or topic that does not exist."""
    return NotFound(
        f'{scope.kind.capitalize()} {scope.name} does not exist for project '
        f'{scope.project}'
    )


def run(ctx: Context, scope: Scope, call: Call[T]) -> T:
    """Run a call on a queue's messages.

    :raises NotFound: the queue does not exist
    """
    result = ctx.catalogue.run(
        scope, lambda store, queue: (call(store, queue),), None
    )
    if result is None:
        raise missing(scope)
    return result[0]
