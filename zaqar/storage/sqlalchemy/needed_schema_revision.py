# SPDX-License-Identifier: Apache-2.0
"""The revision of the tables that this code works on."""

import functools
import logging
from typing import TypeGuard

from zaqar.errors import ConfigurationError

LOG = logging.getLogger(__name__)

#: See the folder ``migrations``.
HEAD = '016'


def check(revision: str | None) -> None:
    """Refuse tables that are older than this code.

    Newer ones are fine, since a release adds to the tables and the next one
    removes: a server of the previous release may restart during an upgrade.
    That is logged, once in a process.

    :param revision: of a database, None for one without tables
    """
    if revision == HEAD:
        return
    if not _is_newer(revision):
        raise ConfigurationError(
            f'the tables are at revision {revision or "none"}, not {HEAD}; '
            'run "zaqar-sql-db-manage upgrade head"'
        )
    _log_newer(revision)


def _is_newer(revision: str | None) -> TypeGuard[str]:
    return (
        revision is not None
        and revision.isdecimal()
        and int(revision) > int(HEAD)
    )


@functools.cache
def _log_newer(revision: str) -> None:
    """Log it once; both stores may be in one database."""
    LOG.warning(
        'The tables are at revision %s, newer than %s, which this release '
        'works on. That is fine while servers are being upgraded; then run '
        'the newer release here as well.',
        revision,
        HEAD,
    )
