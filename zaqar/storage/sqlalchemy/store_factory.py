# SPDX-License-Identifier: Apache-2.0
"""Opening of SQL stores, which :mod:`.driver_declaration` has done late.

An embedded database needs no SQLAlchemy, which takes 15 MiB of a process: it
is imported for servers alone, and for URIs that are not plain.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zaqar.storage.sqlalchemy.management_store import SqlManagementStore
from zaqar.storage.sqlalchemy.message_store import SqlMessageStore
from zaqar.storage.sqlalchemy.sqlite_database import SqliteDatabase

if TYPE_CHECKING:
    import sqlalchemy as sa

    from zaqar.storage.sqlalchemy.database_interface import SqlDatabase

#: The URI of a file whose path has no character that URLs escape.
_PLAIN = re.compile(r'sqlite:///([\w./+ -]+)', re.ASCII)


def open_messages(uri: str, options: Mapping[str, Any]) -> SqlMessageStore:
    window = options.get('group_commit_window_ms', 5) / 1000
    return SqlMessageStore(open_database(uri, options), window)


def open_management(
    uri: str, options: Mapping[str, Any]
) -> SqlManagementStore:
    return SqlManagementStore(open_database(uri, options))


def default_uri(folder: str) -> str:
    """Return the URI of the embedded database in a folder."""
    path = os.path.join(folder, 'zaqar.sqlite')
    uri = f'sqlite:///{path}'
    if _PLAIN.fullmatch(uri):
        return uri
    from zaqar.storage.sqlalchemy import database_urls

    return database_urls.of_file(path)


def parse(uri: str) -> sa.URL:
    """Parse a URI and select the DBAPI driver."""
    from zaqar.storage.sqlalchemy import database_urls

    return database_urls.parse(uri)


def check_pool(uri: str, folder: str) -> None:
    from zaqar.storage.sqlalchemy import pool_uri_options

    pool_uri_options.check(parse(uri), folder)


def open_database(uri: str, options: Mapping[str, Any]) -> SqlDatabase:
    """Open what a store keeps its rows in."""
    if plain := _PLAIN.fullmatch(uri):
        return _open_file(plain[1], options)
    url = parse(uri)
    if url.get_backend_name() == 'sqlite':
        return _open_file(url.database or '', options)
    from zaqar.storage.sqlalchemy import server_database

    return server_database.open_checked(url, options)


def _open_file(path: str, options: Mapping[str, Any]) -> SqlDatabase:
    return SqliteDatabase(path, options.get('sqlite_synchronous', 'FULL'))
