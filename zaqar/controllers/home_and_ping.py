# SPDX-License-Identifier: Apache-2.0
"""The home document and ping."""

from collections.abc import Set

from zaqar.controllers.caller_and_services import Context
from zaqar.errors import StoreUnavailable


def home(ctx: Context) -> Set[str]:
    """Return the features that decide what the home document lists."""
    return ctx.features


def ping(ctx: Context) -> bool:
    """Tell whether every store answers."""
    try:
        ctx.catalogue.ping()
    except StoreUnavailable:
        return False
    return True
