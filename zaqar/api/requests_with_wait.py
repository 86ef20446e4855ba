# SPDX-License-Identifier: Apache-2.0
"""Requests with the parameter ``wait``, which run again if they get nothing.

A request that has to wait is *postponed*: its answer is discarded, and the
transport runs it once more, from the beginning, when it is woken.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zaqar.controllers.caller_and_services import Context
from zaqar.errors import InvalidParameter
from zaqar.objects import Scope
from zaqar.waiting.waiters import Ticket, Waiters

#: The parameter with the seconds for which a request waits.
WAIT = 'wait'


@dataclass(frozen=True, slots=True)
class Waiting:
    """How an operation waits.

    :ivar takes: whether it takes messages, or only reads them
    :ivar count: returns how many messages a result has
    :ivar nothing: the result of a request that has made no attempt
    :ivar check: refuses arguments before the request waits for its turn
    :ivar needs: the parameter without which the operation does not wait
    :ivar default: checks the arguments of a request without the parameter and
        returns the seconds for which it waits; None if it does not
    """

    takes: bool
    count: Callable[[Any], int]
    nothing: Any = None
    check: Callable[[Context, Mapping[str, Any]], Any] = lambda *_: None
    needs: str = ''
    default: Callable[..., int] | None = None


class Postponable(Protocol):
    """A request that can be postponed.

    :ivar ticket: its place in the line of a queue, if it has one
    :ivar is_missed: whether it is postponed: what it returns is no answer
    :ivar is_refused: whether it got nothing and may not wait
    """

    ticket: Ticket | None
    is_refused: bool

    @property
    def is_missed(self) -> bool:
        """Tell whether it is postponed."""

    def may_wait(self) -> bool:
        """Tell whether there is room for one more that waits, and take it."""

    def postpone(self, ticket: Ticket) -> None:
        """Have it run again when it is woken."""


def refuse(values: Mapping[str, Sequence[str]]) -> None:
    """Refuse to wait with an operation that does not.

    :raises InvalidParameter: the request has the parameter
    """
    if WAIT in values:
        raise InvalidParameter(f'The "{WAIT}" parameter is invalid here.')


def seconds(
    waiting: Waiting, context: Context, arguments: dict[str, Any]
) -> int | None:
    """Take the time to wait out of the arguments of an operation.

    :returns: None if there is none
    :raises InvalidParameter: it is out of bounds
    """
    wanted: int | None = arguments.pop(WAIT)
    if wanted is None:
        return None
    if not 0 <= wanted <= context.limits.max_wait:
        raise InvalidParameter(
            f'The "{WAIT}" parameter is invalid. The value must be between 0 '
            f'and {context.limits.max_wait}.'
        )
    if wanted and waiting.needs and arguments[waiting.needs] is None:
        raise InvalidParameter(
            f'The "{WAIT}" parameter is invalid without "{waiting.needs}".'
        )
    if wanted:
        waiting.check(context, arguments)
    return wanted


def attempt(
    waiters: Waiters,
    request: Postponable,
    scope: Scope,
    waiting: Waiting,
    patience: int,
    call: Callable[[], Any],
) -> Any:
    """Run an operation, or postpone its request.

    :param patience: seconds for which it waits at most
    """
    ticket = request.ticket
    if ticket is None:
        if not request.may_wait():
            result = call()
            request.is_refused = not waiting.count(result)
            return result
        ticket = waiters.enter(scope, takes=waiting.takes, seconds=patience)
        ticket.place.result = waiting.nothing
    if ticket.is_over:
        return ticket.place.result
    if ticket.may_run:
        try:
            result = call()
        except BaseException:
            ticket.leave()
            raise
        if count := waiting.count(result):
            ticket.served(count)
            return result
        if not ticket.emptied(result):
            return result
    request.postpone(ticket)
    return None
