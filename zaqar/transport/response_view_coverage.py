# SPDX-License-Identifier: Apache-2.0
"""Coverage of the operations by a transport's views: one each, or an error."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from zaqar.api.operation import Operation
from zaqar.api.operation_declarations import topics

View = TypeVar('View')


def complete(
    views: Mapping[str, View], operations: Iterable[Operation]
) -> Mapping[str, View]:
    """Return the view of each operation by its name.

    :param views: without those of topics, which are those of queues
    :raises LookupError: an operation has no view
    """
    models = {row.name: topics.model(row) for row in topics.OPERATIONS}
    names = [row.name for row in operations]
    missing = [n for n in names if models.get(n, n) not in views]
    if missing:
        raise LookupError(f'operations without a view: {", ".join(missing)}')
    return {name: views[models.get(name, name)] for name in names}
