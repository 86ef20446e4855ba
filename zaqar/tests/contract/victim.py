# SPDX-License-Identifier: Apache-2.0
"""What a process does that is about to be killed."""

from __future__ import annotations

from multiprocessing.connection import Connection

from zaqar.tests.contract.harnesses import Harness
from zaqar.tests.contract.probe import Hand, Probe


def post_and_report(
    kind: type[Harness], uri: str, qid: str, reports: Connection
) -> None:
    """Post without end, three at a time, and tell of each answer."""
    store = kind.driver.open_messages(uri, kind.options)
    queue = Probe(store, Hand(), qid)
    number = 0
    while True:
        reports.send(list(queue.post(number, number, number)))
        number += 1


def claim_and_report(
    kind: type[Harness], uri: str, qid: str, reports: Connection
) -> None:
    """Claim messages one by one, delete every other, and tell of each."""
    store = kind.driver.open_messages(uri, kind.options)
    queue = Probe(store, Hand(), qid)
    while claim := queue.claim(1, ttl=60):
        name = claim.messages[0].id
        reports.send(('claimed', name))
        queue.delete(name, claim.id)
        reports.send(('deleted', name))
