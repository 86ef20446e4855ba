# SPDX-License-Identifier: Apache-2.0
"""Claims that wait for one queue, in a small form."""

from __future__ import annotations

import pytest

from benchmarks import herd, many_waiting_claims

COUNT = 50

#: Claims at the store for each message, where a look that comes late weighs
#: more than among a thousand.
MOST = 1.5


@pytest.mark.parametrize('store', herd.STORES)
def test_a_message_wakes_the_claim_that_has_waited_longest(store: str) -> None:
    with many_waiting_claims.serving(store, herd.SETTINGS) as (_, server):
        for port in (server.asynchronous, server.api):
            for paced in (True, False):
                figures = herd.measure(server, port, COUNT, paced=paced)
                assert figures.tried <= MOST
                assert figures.strayed < herd.THREADS
