# SPDX-License-Identifier: Apache-2.0
"""Counts of the bytes of bodies that queues hold, which run along.

Posts add what they store. What is removed counts with the mean size of what
the queue holds, since nobody reads it any more: the count is approximate, and
is exact again once the queue is empty.
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
