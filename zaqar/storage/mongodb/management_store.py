# SPDX-License-Identifier: Apache-2.0
"""The management store on MongoDB.

``_id`` is a hash of kind, parent and name; ``p`` one of kind and parent, so
that the index on ``p, name`` lists the records of a parent. Each change writes
a unique number in ``by``: when its answer was lost, that tells the first try
from a rival's.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence

from pymongo.errors import OperationFailure

from zaqar import store_clock
from zaqar.objects import Data, Record
from zaqar.storage import abstract_stores
from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.error_classification import is_duplicate
from zaqar.storage.record_key_check_and_data_encoding import check_key, encode

_FIELDS = {'name': 1, 'data': 1, 'version': 1}


class MongoManagementStore(abstract_stores.ManagementStore):
    """Records of a database, which it owns."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database
        self.clock = store_clock.Clock(database.now)
        # The next write may depend on the record that was read.
        self._records = database.collection('record', committed=True)

    def ping(self) -> None:
        self._database.ping()

    def create(self, kind: str, parent: str, name: str, data: Data) -> bool:
        key = _key(kind, parent, name)
        mine = secrets.token_bytes(12)
        document = {
            '_id': key,
            'p': _group(kind, parent),
            'kind': kind,
            'parent': parent,
            'name': name,
            'data': encode(data).encode(),
            'version': 1,
            'by': mine,
        }
        try:
            self._database.step(self._records.insert_one, document)
        except OperationFailure as error:
            if not is_duplicate(error):
                raise
            return self._is_mine(key, mine)
        return True

    def get(self, kind: str, parent: str, name: str) -> Record | None:
        key = _key(kind, parent, name)
        document = self._database.step(
            self._records.find_one, {'_id': key}, _FIELDS
        )
        return _record(document) if document else None

    def replace(
        self, kind: str, parent: str, name: str, data: Data, *, version: int
    ) -> bool:
        key = _key(kind, parent, name)
        mine = secrets.token_bytes(12)
        change = {
            'data': encode(data).encode(),
            'version': version + 1,
            'by': mine,
        }
        result = self._database.step(
            self._records.update_one,
            {'_id': key, 'version': version},
            {'$set': change},
        )
        return result.matched_count > 0 or self._is_mine(key, mine)

    def delete(
        self, kind: str, parent: str, name: str, *, version: int | None = None
    ) -> Record | None:
        where: Document = {'_id': _key(kind, parent, name)}
        if version is not None:
            where['version'] = version
        document = self._database.step(
            self._records.find_one_and_delete, where, projection=_FIELDS
        )
        return _record(document) if document else None

    def list(
        self, kind: str, parent: str, *, after: str | None, limit: int
    ) -> Sequence[Record]:
        where: Document = {'p': _group(kind, parent)}
        if after is not None:
            where['name'] = {'$gt': after}
        rows = self._database.find(
            self._records, where, _FIELDS, sort={'name': 1}, limit=limit
        )
        return [_record(row) for row in rows]

    def count(self, kind: str, parent: str) -> int:
        where = {'p': _group(kind, parent)}
        return self._database.step(self._records.count_documents, where)

    def close(self) -> None:
        self._database.close()

    def _is_mine(self, key: bytes, mine: bytes) -> bool:
        document = self._database.step(
            self._records.find_one, {'_id': key}, {'by': 1}
        )
        return document is not None and bytes(document['by']) == mine


def _group(kind: str, parent: str) -> bytes:
    return _hash(kind, parent)


def _key(kind: str, parent: str, name: str) -> bytes:
    """Return the ``_id`` of a record."""
    check_key(parent, name)
    return _hash(kind, parent, name)


def _hash(*parts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = part.encode('utf-8', 'surrogatepass')
        digest.update(len(data).to_bytes(4, 'big') + data)
    return digest.digest()


def _record(document: Document) -> Record:
    return Record(
        document['name'],
        json.loads(document['data']),
        int(document['version']),
    )
