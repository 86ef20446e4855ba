# SPDX-License-Identifier: Apache-2.0
"""Times as RFC 3339 writes them."""

import datetime


def in_seconds(moment: int) -> str:
    """Return a time in UTC, without the fraction of its last second.

    :param moment: milliseconds since the epoch
    """
    time = datetime.datetime.fromtimestamp(moment // 1000, datetime.UTC)
    return f'{time:%Y-%m-%dT%H:%M:%SZ}'


def timestamp(moment: int) -> str:
    """Return a time in UTC with milliseconds.

    :param moment: milliseconds since the epoch
    """
    time = datetime.datetime.fromtimestamp(moment // 1000, datetime.UTC)
    return f'{time:%Y-%m-%dT%H:%M:%S}.{moment % 1000:03d}Z'
