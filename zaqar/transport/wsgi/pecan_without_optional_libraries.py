# SPDX-License-Identifier: Apache-2.0
"""pecan without the optional libraries that it would render objects with.

It imports whichever of them are installed, all of SQLAlchemy above all, which
takes 10 MiB of each process that uses another store. Mako it needs, but not
what that would colour errors with, which takes 4.
"""

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

#: What pecan tries to import, and does without.
OPTIONAL = ('genshi', 'jinja2', 'kajiki', 'pygments', 'sqlalchemy')


@contextlib.contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Let modules that are not imported yet seem not to be installed."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hidden = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]


with _absent(*OPTIONAL):
    from pecan.core import PecanBase, RoutingState
    from pecan.hooks import PecanHook

__all__ = ('PecanBase', 'PecanHook', 'RoutingState')
