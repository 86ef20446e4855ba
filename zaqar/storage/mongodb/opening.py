# SPDX-License-Identifier: Apache-2.0
"""Opening the stores: which databases and indexes each plane has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zaqar.storage.mongodb import layout, sessions
from zaqar.storage.mongodb.connecting import Settings
from zaqar.storage.mongodb.database import Database
from zaqar.storage.mongodb.management import ManagementStore
from zaqar.storage.mongodb.messages import MessageStore

_MESSAGE_INDEXES = {
    'message': layout.MESSAGE_INDEXES,
    'queue': layout.QUEUE_INDEXES,
    'poster': sessions.INDEXES,
}
_RECORD_INDEXES = {'record': layout.RECORD_INDEXES}


def open_messages(
    uri: str,
    options: Mapping[str, Any],
    *,
    kind: str,
    strictly: bool,
    partitions: int,
) -> MessageStore:
    """Open a message plane.

    :param kind: what the names of its databases have in the middle
    """
    settings = Settings(uri, options)
    names = [
        f'{settings.database}_{kind}_p{number}' for number in range(partitions)
    ]
    database = Database(settings, names, _MESSAGE_INDEXES)
    return MessageStore(database, strictly=strictly)


def open_management(uri: str, options: Mapping[str, Any]) -> ManagementStore:
    """Open a management plane."""
    settings = Settings(uri, options)
    database = Database(settings, [settings.database], _RECORD_INDEXES)
    return ManagementStore(database)
