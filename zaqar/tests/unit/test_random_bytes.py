# SPDX-License-Identifier: Apache-2.0
"""Random bytes in stock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from zaqar import random_bytes


def test_no_byte_is_given_twice() -> None:
    tokens = [random_bytes.token_hex(16) for _ in range(3000)]
    assert {len(text) for text in tokens} == {32}
    assert len({*tokens}) == 3000


def test_more_than_the_stock_is_fetched() -> None:
    assert len(random_bytes.token_bytes(random_bytes.STOCK + 1)) == 4097
    assert len(random_bytes.token_bytes(random_bytes.STOCK)) == 4096
    assert random_bytes.token_bytes(0) == b''
    assert len(random_bytes.token_hex(random_bytes.STOCK + 1)) == 2 * 4097
    assert len(random_bytes.token_hex(random_bytes.STOCK)) == 2 * 4096
    assert random_bytes.token_hex(0) == ''


def test_threads_have_stocks_of_their_own() -> None:
    tokens: list[str] = []

    def take() -> None:
        tokens.extend(random_bytes.token_hex(16) for _ in range(500))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*tokens}) == 4000


@pytest.mark.parametrize(
    'take',
    [
        lambda: random_bytes.token_bytes(16),
        lambda: bytes.fromhex(random_bytes.token_hex(16)),
    ],
)
def test_a_forked_process_shares_no_stock(take: Callable[[], bytes]) -> None:
    take()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, take())
        os._exit(0)
    os.waitpid(child, 0)
    with os.fdopen(reader, 'rb') as pipe:
        theirs = pipe.read(16)
    os.close(writer)
    assert len(theirs) == 16
    assert theirs != take()
