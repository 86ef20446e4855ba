# SPDX-License-Identifier: Apache-2.0
"""Bounds of the keys of records, which the drivers here check alike."""

#: Characters of the parent and of the name of a record, at most.
MAX_PARENT, MAX_NAME = 400, 128


def check_key(parent: str, name: str) -> None:
    """Refuse a key that not every store would take.

    :raises ValueError: it is too long
    """
    if len(parent) > MAX_PARENT or len(name) > MAX_NAME:
        raise ValueError('the key of a record is too long')
