# SPDX-License-Identifier: Apache-2.0
"""What is here, and whether it works."""

from __future__ import annotations

from collections.abc import Set

from zaqar.controllers.context import Context
from zaqar.errors import StoreUnavailable


def home(ctx: Context) -> Set[str]:
    """Return what the home document, read from the table, depends on."""
    return ctx.features


def ping(ctx: Context) -> bool:
    """Tell whether every store answers."""
    try:
        ctx.catalogue.ping()
    except StoreUnavailable:
        return False
    return True
