# SPDX-License-Identifier: Apache-2.0
"""No request calls more functions than the table allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from benchmarks import databases, function_calls


@pytest.fixture(scope='module')
def counted() -> Iterator[Mapping[str, Sequence[int]]]:
    """The calls of each operation on Redis."""
    with (
        databases.own_redis() as source,
        function_calls.service(source.database()) as opened,
    ):
        yield {
            name: [function_calls.total(profile) for profile in both]
            for name, both in function_calls.profiles(opened).items()
        }


@pytest.mark.parametrize('operation', function_calls.MOST)
def test_calls_of_functions_are_bounded(
    operation: str, counted: Mapping[str, Sequence[int]]
) -> None:
    application, with_server = counted[operation]

    most = function_calls.MOST[operation]
    assert application <= most[0]
    assert with_server <= most[1]
