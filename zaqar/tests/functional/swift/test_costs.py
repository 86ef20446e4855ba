# SPDX-License-Identifier: Apache-2.0
"""What each call asks of Swift, counted by its object server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.tests.contract.probe import Probe, deleted, extended, released
from zaqar.tests.functional.swift.objects import LARGE, Objects

CLAIM = 'c' * 32

#: On a queue of ten long messages, the first of them claimed: what is asked.
COSTS: dict[str, tuple[Callable[[Probe, list[str]], object], dict[str, int]]]
COSTS = {
    'post 10': (
        lambda queue, ids: queue.post(*[LARGE] * 10),
        {'PUT': 10},
    ),
    'post 10 short': (lambda queue, ids: queue.post(*range(10)), {}),
    'list 5': (lambda queue, ids: queue.list(5), {'GET': 5}),
    'get 3': (lambda queue, ids: queue.get(*ids[:3]), {'GET': 3}),
    'claim 5': (lambda queue, ids: queue.claim(5), {'GET': 5}),
    'claim 5, counted': (
        lambda queue, ids: queue.claim(5, max_claims=3),
        {'GET': 5},
    ),
    'claimed': (lambda queue, ids: queue.claimed(CLAIM), {'GET': 1}),
    'renew': (lambda queue, ids: queue.renew(CLAIM), {}),
    'renew for a day': (
        lambda queue, ids: queue.renew(CLAIM, ttl=43_200, grace=43_200),
        {'POST': 1},
    ),
    'release': (lambda queue, ids: queue.release(CLAIM), {}),
    'settle by deletion': (
        lambda queue, ids: queue.settle(
            CLAIM, *(deleted(name) for name in ids)
        ),
        {'DELETE': 1},
    ),
    'settle by release': (
        lambda queue, ids: queue.settle(CLAIM, released(ids[0], 60)),
        {},
    ),
    'settle by extension': (
        lambda queue, ids: queue.settle(CLAIM, extended(ids[0], 60)),
        {},
    ),
    'settle by extension for a day': (
        lambda queue, ids: queue.settle(CLAIM, extended(ids[0], 86_400)),
        {'POST': 1},
    ),
    'delete': (lambda queue, ids: queue.delete(ids[1]), {'DELETE': 1}),
    'delete with its claim': (
        lambda queue, ids: queue.delete(ids[0], CLAIM),
        {'DELETE': 1},
    ),
    'delete 5': (
        lambda queue, ids: queue.delete_many(*ids[:5]),
        {'DELETE': 5},
    ),
    'pop 5': (lambda queue, ids: queue.pop(5), {'GET': 5, 'DELETE': 5}),
    'stats': (lambda queue, ids: queue.stats(), {}),
    'purge': (lambda queue, ids: queue.purge(), {}),
    'drop': (lambda queue, ids: queue.drop(), {'DELETE': 10}),
    'sweep': (
        lambda queue, ids: queue.store.sweep(now=queue.hand.now, batch=100),
        {},
    ),
}


@pytest.mark.parametrize('call', COSTS)
def test_swift_is_asked_for_long_bodies_only_and_once_for_each(
    queue: Probe, objects: Objects, call: str
) -> None:
    work, cost = COSTS[call]
    posted = queue.post(*[LARGE] * 10, ttl=60)
    queue.take(1, claim_id=CLAIM)
    left = len(objects.paths()) - cost.get('DELETE', 0) + cost.get('PUT', 0)
    objects.new_requests()
    work(queue, list(posted))
    objects.become(left)
    assert objects.new_requests() == cost
