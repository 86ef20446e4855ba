# SPDX-License-Identifier: Apache-2.0
"""The deadline that dispatch gives each request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.api import microversion_negotiation
from zaqar.api.dispatch import Dispatcher
from zaqar.errors import StoreUnavailable
from zaqar.identity import Identity


def run(handler: Any) -> Any:
    """Run an operation with a handler of our own."""
    context: Any = SimpleNamespace(
        limits=None,
        signer=None,
        features=frozenset(),
        quotas=None,
        throttle=None,
        called_by=lambda identity, *_: SimpleNamespace(identity=identity),
    )
    authorizer: Any = SimpleNamespace(check=lambda *_: None)
    operation: Any = SimpleNamespace(
        name='an operation',
        rule=None,
        query=(),
        keep_unknown=False,
        body=None,
        further=None,
        needs=frozenset(),
        since=microversion_negotiation.MIN,
        waiting=None,
        handler=handler,
        error_message='It failed',
    )
    return Dispatcher(authorizer, context).run(
        operation,
        Identity('project', 'client'),
        scope=None,
        path={},
        values={},
        read_body=lambda *_: None,
    )


def test_a_request_has_a_deadline_that_ends_with_it() -> None:
    seconds = run(lambda _: request_deadline.left(60.0))
    assert request_deadline.REQUEST - 1 < seconds <= request_deadline.REQUEST
    assert request_deadline.left(60.0) == 60.0


def test_a_failed_request_leaves_none_behind() -> None:
    def fail(_: Any) -> None:
        raise StoreUnavailable

    with pytest.raises(StoreUnavailable, match='It failed'):
        run(fail)
    assert request_deadline.left(60.0) == 60.0


def test_a_request_that_has_waited_for_too_long_is_not_begun() -> None:
    calls: list[Any] = []
    request_deadline.note_waiting(request_deadline.LONGEST_WAIT + 0.1)
    try:
        with pytest.raises(StoreUnavailable, match='Too many requests'):
            run(calls.append)
    finally:
        request_deadline.note_waiting(0.0)
    assert not calls
    run(calls.append)
    assert len(calls) == 1
