# SPDX-License-Identifier: Apache-2.0
"""How many requests wait in threads."""

import threading
from typing import Any

from zaqar.api.waiting_requests import Postponable
from zaqar.transport.wsgi import waiting_in_threads
from zaqar.transport.wsgi.waiting_in_threads import WaitingInThreads


class Ticket:
    """A place in a line; the request is woken by the test."""

    def __init__(self) -> None:
        self.place = self
        self.result = 'nothing'
        self.parked = threading.Event()
        self.has_left = False

    def park(self, wake: Any) -> None:
        self.wake = wake
        self.parked.set()

    def leave(self) -> None:
        self.has_left = True


def test_no_more_wait_than_may() -> None:
    waiting = WaitingInThreads(1)
    tickets = [Ticket() for _ in range(3)]
    results: list[Any] = []

    def run(ticket: Any, request: Postponable) -> str:
        if request.ticket is not None:
            return 'messages'
        if not request.may_wait():
            request.is_refused = True
            return 'nothing'
        request.postpone(ticket)
        return 'no answer'

    def wait(ticket: Ticket) -> None:
        results.append(waiting.run(lambda request: run(ticket, request)))

    first = threading.Thread(target=wait, args=(tickets[0],))
    first.start()
    assert tickets[0].parked.wait(30)
    wait(tickets[1])
    assert results == [('nothing', True)]
    tickets[0].wake()
    first.join(30)
    assert results[1:] == [('messages', False)]
    assert tickets[0].has_left
    third = threading.Thread(target=wait, args=(tickets[2],))
    third.start()
    assert tickets[2].parked.wait(30)
    tickets[2].wake()
    third.join(30)
    assert results[2:] == [('messages', False)]


def test_what_fails_leaves_room() -> None:
    waiting = WaitingInThreads(1)

    def fail(request: Postponable) -> None:
        raise ValueError

    for _ in range(2):
        try:
            waiting.run(fail)
        except ValueError:
            continue
        raise AssertionError
    assert waiting.run(lambda request: 'messages') == ('messages', False)


def test_a_body_is_read_once() -> None:
    reads: list[Any] = []

    def read(*arguments: Any) -> Any:
        reads.append(arguments)
        return None

    body: Any = 'a declaration'
    once = waiting_in_threads.read_once(read)
    assert once(body, 1) is None
    assert once(body, 1) is None
    assert reads == [(body, 1)]
