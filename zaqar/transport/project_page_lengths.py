# SPDX-License-Identifier: Apache-2.0
"""Lengths of the longest pages that projects had lately, in bytes."""

from zaqar.bounded_cache import BoundedCache

#: Bytes of a page from which on others of its project may be large.
SHORT = 8 * 1024

#: Bytes of the longest page of a project of which none is known.
UNKNOWN = 1 << 62

#: A page that is shorter than the longest one lowers what is known of that by
#: this part of the difference.
_FORGETTING = 128

#: Projects of which it is known.
_LENGTHS = 10_000


class ProjectPageLengths(BoundedCache[str, int]):
    """The bytes of the longest page of each project lately."""

    def __init__(self) -> None:
        super().__init__(_LENGTHS)

    def note(self, project: str, size: int) -> None:
        """Note the bytes of a page, large or not."""
        # 0 stands for no page.
        size = size or 1
        longest = self.get(project, size)
        self[project] = max(size, longest - (longest - size) // _FORGETTING)
