# SPDX-License-Identifier: Apache-2.0
"""Opens the stores: which databases and indexes each has."""

from collections.abc import Mapping
from typing import Any

from zaqar.storage.mongodb import (
    document_layout,
    sessions_and_abandoned_transactions,
)
from zaqar.storage.mongodb.client_settings import ClientSettings
from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
)
from zaqar.storage.mongodb.management_store import MongoManagementStore
from zaqar.storage.mongodb.message_store import MongoMessageStore

_MESSAGE_INDEXES = {
    'message': document_layout.MESSAGE_INDEXES,
    'queue': document_layout.QUEUE_INDEXES,
    'group': document_layout.GROUP_INDEXES,
    'poster': sessions_and_abandoned_transactions.INDEXES,
}
_RECORD_INDEXES = {'record': document_layout.RECORD_INDEXES}


def open_messages(
    uri: str,
    options: Mapping[str, Any],
    *,
    kind: str,
    strictly: bool,
    database: str,
    partitions: int,
) -> MongoMessageStore:
    """Open a message store.

    :param kind: the middle of the names of its databases
    :param database: their prefix
    """
    settings = ClientSettings(uri, options)
    names = [f'{database}_{kind}_p{number}' for number in range(partitions)]
    return MongoMessageStore(
        MongoDatabase(settings, names, _MESSAGE_INDEXES), strictly=strictly
    )


def open_management(
    uri: str, options: Mapping[str, Any], *, database: str
) -> MongoManagementStore:
    settings = ClientSettings(uri, options)
    return MongoManagementStore(
        MongoDatabase(settings, [database], _RECORD_INDEXES)
    )
