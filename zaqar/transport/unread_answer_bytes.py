# SPDX-License-Identifier: Apache-2.0
"""Bytes of answers that clients leave unread, and their bound."""

import collections

#: Times what one project may leave unread, for all of them.
TOTAL_FACTOR = 4


class UnreadAnswerBytes:
    """Answers that wait to be read, by their projects.

    The caller holds a lock.

    :param most: bytes of one project, 0 for any number
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sizes: collections.Counter[str] = collections.Counter()

    def add(self, project: str, size: int) -> None:
        self._sizes[project] += size

    def subtract(self, project: str, size: int) -> None:
        self._sizes[project] -= size
        if not self._sizes[project]:
            del self._sizes[project]

    def are_too_many(self, project: str) -> bool:
        """Tell whether a project is to have no further large page now.

        Where its clients read all of it, it does not suffer from the others.
        """
        most, unread = self._most, self._sizes[project]
        return bool(
            most
            and unread
            and (unread >= most or self._sizes.total() >= TOTAL_FACTOR * most)
        )
