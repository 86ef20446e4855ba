# SPDX-License-Identifier: Apache-2.0
"""Look-ups of names, when name servers do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence

import pytest

from zaqar.webhook_client import name_resolution_threads
from zaqar.webhook_client.name_resolution_threads import NameResolution

#: Seconds after which a look-up that should end at once has failed.
GIVEN_UP = 30


@pytest.mark.parametrize(
    ('domains', 'begun_at_once', 'other'),
    [
        # Of one domain: other receivers of the project are found, too.
        (1, name_resolution_threads.PER_DOMAIN, 'evil'),
        # Of as many as somebody likes: those of other projects are.
        (
            name_resolution_threads.THREADS,
            int(
                name_resolution_threads.THREADS
                * name_resolution_threads.PROJECT_SHARE
            ),
            'good',
        ),
    ],
)
def test_names_whose_server_hangs_hold_up_no_others(
    domains: int, begun_at_once: int, other: str
) -> None:
    goes_on = threading.Event()
    begun = threading.Semaphore(0)

    def hang() -> Sequence[str]:
        begun.release()
        goes_on.wait()
        return ['late']

    async def scene() -> Sequence[str]:
        names = NameResolution()
        hosts = [
            f'hooks{number}.evil{number % domains}.example'
            for number in range(name_resolution_threads.THREADS)
        ]
        attempts = [
            asyncio.ensure_future(names.run(host, 'evil', hang))
            for host in hosts
        ]
        for _ in range(begun_at_once):
            await asyncio.to_thread(begun.acquire)
        # Their time is over, but not that of their threads.
        for attempt in attempts:
            attempt.cancel()
        more = asyncio.ensure_future(names.run(hosts[0], 'evil', hang))
        try:
            async with asyncio.timeout(GIVEN_UP):
                good = await names.run(
                    'hooks.good.example', other, lambda: ['here']
                )
            assert not begun.acquire(blocking=False)
            goes_on.set()
            async with asyncio.timeout(GIVEN_UP):
                assert await more == ['late']
        finally:
            goes_on.set()
            names.close()
            for attempt in attempts:
                with contextlib.suppress(asyncio.CancelledError):
                    await attempt
        return good

    assert asyncio.run(scene()) == ['here']


def test_what_a_look_up_raises_is_raised() -> None:
    def fail() -> Sequence[str]:
        raise OSError('no such name')

    async def scene() -> None:
        names = NameResolution()
        # More of them than may be under way: none keeps its place.
        for _ in range(2 * name_resolution_threads.PER_DOMAIN):
            with pytest.raises(OSError, match='no such name'):
                await names.run('missing.example', 'p', fail)
        names.close()

    asyncio.run(scene())
