# SPDX-License-Identifier: Apache-2.0
"""What a process does that is about to be killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from zaqar.errors import StoreUnavailable
from zaqar.tests.contract.harnesses import Harness
from zaqar.tests.contract.probe import (
    Hand,
    Probe,
    deleted,
    ids,
    released,
    token,
)

T = TypeVar('T')


def insist(call: Callable[[], T]) -> T:
    """Repeat a call until the store, which may be slow, is available."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            return call()


def post_and_report(
    kind: type[Harness], uri: str, qid: str, reports: Connection
) -> None:
    """Post without end, three at a time, and tell of each answer."""
    store = kind.driver.open_messages(uri, kind.options)
    queue = Probe(store, Hand(), qid)
    number = 0
    while True:
        post = partial(queue.post, number, number, number, token=token())
        reports.send(list(insist(post)))
        number += 1


def claim_and_report(
    kind: type[Harness], uri: str, qid: str, reports: Connection
) -> None:
    """Claim messages one by one, delete every other, and tell of each."""
    store = kind.driver.open_messages(uri, kind.options)
    queue = Probe(store, Hand(), qid)
    while claim := insist(partial(queue.claim, 1, ttl=60, claim_id=token())):
        name = claim.messages[0].id
        reports.send(('claimed', name))
        insist(partial(queue.delete, name, claim.id))
        reports.send(('deleted', name))


def settle_and_report(
    kind: type[Harness], uri: str, qid: str, reports: Connection
) -> None:
    """Claim three messages at a time, settle two, and tell of each answer."""
    store = kind.driver.open_messages(uri, kind.options)
    queue = Probe(store, Hand(), qid)
    while claim := insist(partial(queue.claim, 3, ttl=60, claim_id=token())):
        one, two, three = ids(claim.messages)
        reports.send(('claimed', three))
        settle = partial(
            queue.settle,
            claim.id,
            deleted(one),
            released(two, 600, reason='later'),
        )
        insist(settle)
        reports.send(('settled', one, two))
