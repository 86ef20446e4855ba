# SPDX-License-Identifier: Apache-2.0
"""Subtraction of removed messages from a queue's running counts.

Posts add messages and the bytes of their bodies. What is removed counts with
the mean size of what the queue holds, since nobody reads it any more: the
bytes are approximate, and are exact again once the queue is empty.
"""


def subtract(count: str, row: str = '') -> str:
    """Return the assignments that subtract removed messages.

    :param count: SQL for their number
    :param row: prefix of the columns that are read
    """
    # In this order: MySQL evaluates assignments one after another.
    return (
        f'bytes = coalesce({row}bytes - {row}bytes * {count} '
        f'/ nullif({row}live, 0), 0 * {row}bytes), '
        f'live = {row}live - {count}'
    )
