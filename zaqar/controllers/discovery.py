# SPDX-License-Identifier: Apache-2.0
"""What is here, and whether it works."""

from __future__ import annotations

from zaqar.controllers.context import Context
from zaqar.errors import StoreUnavailable


def home(ctx: Context) -> None:
    """Ask for the home document, which views read from the table."""


def ping(ctx: Context) -> bool:
    """Tell whether every store answers."""
    try:
        ctx.catalogue.ping()
    except StoreUnavailable:
        return False
    return True
