# SPDX-License-Identifier: Apache-2.0
"""Settings of new connections to MariaDB and MySQL."""

from typing import Any, NamedTuple

#: Bits of Galera's ``wsrep_sync_wait``: reads and the begin of transactions,
#: updates and deletions, insertions.
SYNC_WAIT = 1 | 2 | 4
SET_SYNC_WAIT = f'SET SESSION wsrep_sync_wait = {SYNC_WAIT}'

#: The error number for an unknown system variable.
_UNKNOWN_VARIABLE = 1193


class Traits(NamedTuple):
    """What a server is.

    :ivar is_galera: whether it is a node of a Galera cluster
    :ivar takes_compounds: whether it is MariaDB
    """

    is_galera: bool
    takes_compounds: bool


def prepare(connection: Any, *, sync_wait: bool) -> Traits:
    """Set autocommit, so that only BEGIN starts a transaction, and the like.

    :param sync_wait: whether a node of a Galera cluster waits, before each
        transaction, for what others have committed
    """
    connection.autocommit(True)
    with connection.cursor() as cursor:
        # The gap locks of the default level block concurrent claims.
        cursor.execute(
            'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'
        )
        cursor.execute('SET SESSION innodb_lock_wait_timeout = 3')
        cursor.execute('SELECT version()')
        takes_compounds = 'MariaDB' in cursor.fetchone()[0]
        is_galera = _is_galera(cursor)
        if is_galera:
            # A node that repeats a compound statement by itself would answer
            # it twice.
            cursor.execute('SET SESSION wsrep_retry_autocommit = 0')
        if is_galera and sync_wait:
            cursor.execute(SET_SYNC_WAIT)
    return Traits(is_galera, takes_compounds)


def _is_galera(cursor: Any) -> bool:
    try:
        cursor.execute('SELECT @@wsrep_on')
    except Exception as error:
        if error.args[:1] != (_UNKNOWN_VARIABLE,):
            raise
        # MySQL, or MariaDB without Galera.
        return False
    return bool(cursor.fetchone()[0])
