# SPDX-License-Identifier: Apache-2.0
"""What the settings of a server or an SQLite file promise of its messages."""

from collections.abc import Callable, Mapping

from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.store_guarantees import (
    LAST_SECOND,
    Guarantees,
    Order,
    Survival,
)

#: Whether something survives, and why.
Finding = tuple[Survival, str]

_PRAGMAS = ('synchronous', 'journal_mode')

#: Names of SQLite's values of ``synchronous``.
_SYNCHRONOUS = ('OFF', 'NORMAL', 'FULL', 'EXTRA')

_POSTGRESQL = (
    'SELECT name, setting FROM pg_settings WHERE name IN ('
    "'fsync', 'full_page_writes', 'synchronous_commit', "
    "'synchronous_standby_names', 'wal_writer_delay')"
)
#: PostgreSQL's writer flushes at the latest after so many of its rounds.
_ROUNDS = 3

_MYSQL = (
    'SHOW GLOBAL VARIABLES WHERE Variable_name IN ('
    "'innodb_doublewrite', 'innodb_flush_log_at_timeout', "
    "'innodb_flush_log_at_trx_commit', 'innodb_flush_method', 'log_bin', "
    "'sync_binlog', 'wsrep_on')"
)
_MYSQL_STATUS = (
    'SHOW GLOBAL STATUS WHERE Variable_name IN ('
    "'wsrep_cluster_size', 'wsrep_cluster_status')"
)


def read(session: SqlSession) -> Guarantees:
    """Read the settings of the server, or of the file."""
    return _READERS[session.dialect](session)


def _guarantees(store: str, kill: Finding, failover: Finding) -> Guarantees:
    return Guarantees(
        store, Order.FIFO, kill[0], failover[0], [kill[1], failover[1]]
    )


def _sqlite(session: SqlSession) -> Guarantees:
    level, mode = (
        (session.one(f'PRAGMA {name}', {}) or ('',))[0] for name in _PRAGMAS
    )
    settings = f'synchronous = {_SYNCHRONOUS[level]}, journal_mode = {mode}'
    kill: Finding = (True, f'{settings}: commits are on disk at once')
    if mode in ('memory', 'off') or _SYNCHRONOUS[level] == 'OFF':
        kill = False, f'{settings}: a power cut may damage the file'
    elif _SYNCHRONOUS[level] == 'NORMAL':
        kill = (
            False,
            f'{settings}: a power cut loses the commits since the last '
            'checkpoint, the death of processes none',
        )
    return _guarantees(
        'sqlite',
        kill,
        (False, 'the database is a file of one machine, without a replica'),
    )


def _postgresql(session: SqlSession) -> Guarantees:
    settings: Mapping[str, str] = dict(session.all(_POSTGRESQL, {}))
    commit = settings['synchronous_commit']
    return _guarantees(
        'postgresql',
        _crash_of_postgresql(settings, commit),
        _standby(settings['synchronous_standby_names'], commit),
    )


def _crash_of_postgresql(settings: Mapping[str, str], commit: str) -> Finding:
    if settings['fsync'] != 'on':
        return False, 'fsync = off: a crash of the machine may damage all data'
    if settings['full_page_writes'] != 'on':
        return (
            False,
            'full_page_writes = off: a crash of the machine may damage what '
            'was being written',
        )
    if commit != 'off':
        return (
            True,
            f'fsync = on, synchronous_commit = {commit}: commits are on disk '
            'before they are acknowledged',
        )
    window = _ROUNDS * int(settings['wal_writer_delay'])
    return (
        LAST_SECOND if window <= 1000 else False,
        f'synchronous_commit = off: a crash loses the last {window} ms',
    )


def _standby(names: str, commit: str) -> Finding:
    if not names:
        return (
            False,
            'synchronous_standby_names is empty: a standby that takes over '
            'may lack the last commits',
        )
    settings = (
        f'synchronous_standby_names = {names}, synchronous_commit = {commit}'
    )
    if commit in ('off', 'local'):
        return False, f'{settings}: commits wait for no standby'
    return True, f'{settings}: commits wait for these standbys'


def _mysql(session: SqlSession) -> Guarantees:
    settings = {
        str(name).lower(): str(value)
        for query in (_MYSQL, _MYSQL_STATUS)
        for name, value in session.all(query, {})
    }
    kill = _crash_of_innodb(settings)
    failover: Finding = (
        False,
        'replication is asynchronous or missing: a replica that takes over '
        'may lack the last commits',
    )
    size = int(settings.get('wsrep_cluster_size') or 0)
    if settings.get('wsrep_on') == 'ON':
        status = settings.get('wsrep_cluster_status', 'unknown')
        text = f'wsrep_on = ON, wsrep_cluster_size = {size} ({status})'
        failover = False, f'{text}: no other node has the commits'
        if size > 1 and status == 'Primary':
            failover = True, f'{text}: all nodes have a commit first'
            kill = True, f'if all nodes crash at once, {kill[1]}'
    store = 'mariadb' if session.takes_compounds else 'mysql'
    return _guarantees(store, kill, failover)


def _crash_of_innodb(settings: Mapping[str, str]) -> Finding:
    for name, harmful in (
        ('innodb_doublewrite', ('OFF', '0', 'DETECT_ONLY')),
        ('innodb_flush_method', ('nosync', 'littlesync')),
    ):
        value = settings.get(name, '')
        if value in harmful:
            text = 'a crash of the machine may damage what was being written'
            return False, f'{name} = {value}: {text}'
    flush = settings['innodb_flush_log_at_trx_commit']
    text = f'innodb_flush_log_at_trx_commit = {flush}'
    if flush in ('0', '2'):
        seconds = int(settings.get('innodb_flush_log_at_timeout') or 1)
        return (
            LAST_SECOND if seconds <= 1 else False,
            f'{text}: a crash loses the commits of {seconds} s',
        )
    every = settings.get('sync_binlog', '1')
    if settings.get('log_bin') == 'ON' and every != '1':
        return (
            False,
            f'{text}, but log_bin = ON and sync_binlog = {every}: commits '
            'that are missing in the binary log are undone after a crash',
        )
    return True, f'{text}: commits are on disk before they are acknowledged'


_READERS: Mapping[str, Callable[[SqlSession], Guarantees]] = {
    'sqlite': _sqlite,
    'postgresql': _postgresql,
    'mysql': _mysql,
}
