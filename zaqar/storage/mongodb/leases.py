# SPDX-License-Identifier: Apache-2.0
"""Leases, by which one process at a time does what others leave to it."""

from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.error_classification import is_duplicate

#: The collection they are in.
COLLECTION = 'lease'


def take(
    leases: Collection[Document], name: str, owner: str, duration: int
) -> bool:
    """Take a lease, in one command; tell whether it was free.

    :param owner: unique to this attempt, which may be repeated
    :param duration: milliseconds, by the server's clock, for which it is held
    """
    moment = {'$toLong': '$$NOW'}
    is_free = {
        '$or': [
            {'$eq': [{'$type': '$until'}, 'missing']},
            {'$lte': ['$until', moment]},
            # Taken by a first try whose answer was lost.
            {'$eq': ['$owner', owner]},
        ]
    }
    change = {
        'owner': {'$cond': [is_free, owner, '$owner']},
        'until': {'$cond': [is_free, {'$add': [moment, duration]}, '$until']},
    }
    try:
        lease = leases.find_one_and_update(
            {'_id': name},
            [{'$set': change}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
    except OperationFailure as error:
        if is_duplicate(error):
            # Another process was faster.
            return False
        raise
    return lease is not None and bool(lease['owner'] == owner)


def give_back(leases: Collection[Document], name: str, owner: str) -> None:
    """End a lease early, if it is still this owner's."""
    leases.delete_one({'_id': name, 'owner': owner})
