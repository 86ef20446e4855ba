# SPDX-License-Identifier: Apache-2.0
"""Random bytes from the system, fetched in advance.

Each call of :func:`os.urandom` lets go of the interpreter, which threads that
answer requests then have to win back: several times per request, for a few
bytes each. Here each thread keeps a stock, and uses no byte of it twice.
"""

import os
import threading

#: Bytes that are fetched at a time.
STOCK = 4096


class _Stock(threading.local):
    def __init__(self) -> None:
        self.bytes = b''
        self.used = 0
        self.digits = ''
        self.digits_used = 0


_stock = _Stock()


def token_bytes(count: int) -> bytes:
    """Return as many random bytes, fit for secrets."""
    if count > STOCK:
        return os.urandom(count)
    begin = _stock.used
    end = begin + count
    if end > len(_stock.bytes):
        _stock.bytes = os.urandom(STOCK)
        begin, end = 0, count
    _stock.used = end
    return _stock.bytes[begin:end]


def token_hex(count: int) -> str:
    """Return as many random bytes in hexadecimal digits."""
    if count > STOCK:
        return os.urandom(count).hex()
    # A stock of its own, converted once: most random bytes are for ids.
    begin = _stock.digits_used
    end = begin + 2 * count
    if end > 2 * STOCK or not _stock.digits:
        _stock.digits = os.urandom(STOCK).hex()
        begin, end = 0, 2 * count
    _stock.digits_used = end
    return _stock.digits[begin:end]


def forget() -> None:
    """Discard the stock of this thread, which a forked process would share."""
    _stock.bytes = b''
    _stock.used = 0
    _stock.digits = ''
    _stock.digits_used = 0


os.register_at_fork(after_in_child=forget)
