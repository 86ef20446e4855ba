# SPDX-License-Identifier: Apache-2.0
"""No request calls more functions than the table allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from benchmarks import databases, function_calls, quotas

#: The calls of each operation, without the server and with it.
Counts = Mapping[str, Sequence[int]]


def _counts(source: databases.Source, more: str = '') -> Counts:
    with function_calls.service(source.database(), more) as opened:
        return {
            name: [function_calls.total(profile) for profile in both]
            for name, both in function_calls.profiles(opened).items()
        }


@pytest.fixture(scope='module')
def counted() -> Iterator[tuple[Counts, Counts]]:
    """What is called on Redis, without quotas and rates and with them."""
    with databases.own_redis() as source:
        yield _counts(source), _counts(source, quotas.LIMITS)


@pytest.mark.parametrize('operation', function_calls.MOST)
def test_calls_of_functions_are_bounded(
    operation: str, counted: tuple[Counts, Counts]
) -> None:
    application, with_server = counted[0][operation]
    limited, _ = counted[1][operation]

    most = function_calls.MOST[operation]
    assert application <= most[0]
    assert with_server <= most[1]
    added = limited - application
    assert added <= function_calls.MOST_OF_LIMITS.get(operation, 2)
