# SPDX-License-Identifier: Apache-2.0
"""The management store on Redis.

Each kind and parent has a hash of records and a sorted set of their names. A
change whose answer was lost is repeated: then the record is compared with the
one to be written, so that the first try is not taken for a rival's.
"""

from collections.abc import Sequence
from typing import Any

from zaqar import store_clock
from zaqar.objects import Data, Record
from zaqar.storage import abstract_stores
from zaqar.storage.record_key_check_and_data_encoding import (
    check_key,
    decode,
    encode,
)
from zaqar.storage.redis import key_names, scripts
from zaqar.storage.redis.retrying_client import RedisClient


class RedisManagementStore(abstract_stores.ManagementStore):
    """Records on a server.

    :param client: owned by this store from now on
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self.server = client.server
        self.waits_in_greenlets = client.waits_in_greenlets
        self.clock = store_clock.Clock(client.now)

    def ping(self) -> None:
        self._client.ping()

    def create(self, kind: str, parent: str, name: str, data: Data) -> bool:
        return bool(
            self._change(kind, parent, 'create', name, encode(data), 0)
        )

    def get(self, kind: str, parent: str, name: str) -> Record | None:
        records, _ = self._keys(kind, parent, name)
        return _record(name, self._client.call(records, 'HGET', records, name))

    def replace(
        self, kind: str, parent: str, name: str, data: Data, *, version: int
    ) -> bool:
        return bool(
            self._change(kind, parent, 'replace', name, encode(data), version)
        )

    def delete(
        self, kind: str, parent: str, name: str, *, version: int | None = None
    ) -> Record | None:
        deleted = self._change(kind, parent, 'delete', name, '', version)
        return _record(name, deleted)

    def list(
        self, kind: str, parent: str, *, after: str | None, limit: int
    ) -> Sequence[Record]:
        bound = '-' if after is None else f'({after}'
        names = self._keys(kind, parent, '')
        flat = self._client.run(scripts.RECORDS, names, (bound, limit))
        records = (
            _record(flat[at].decode(), flat[at + 1])
            for at in range(0, len(flat), 2)
        )
        return [record for record in records if record is not None]

    def count(self, kind: str, parent: str) -> int:
        records, _ = self._keys(kind, parent, '')
        return int(self._client.call(records, 'HLEN', records))

    def close(self) -> None:
        self._client.close()

    def _change(
        self,
        kind: str,
        parent: str,
        action: str,
        name: str,
        data: str,
        version: int | None,
    ) -> Any:
        return self._client.run(
            scripts.RECORD,
            self._keys(kind, parent, name),
            (action, name, data, '' if version is None else version),
            pass_repeated=True,
        )

    def _keys(self, kind: str, parent: str, name: str) -> Sequence[str]:
        """Return the two keys of a kind and parent."""
        check_key(parent, name)
        return key_names.of_records(self._client.prefix, kind, parent)


def _record(name: str, stored: bytes | None) -> Record | None:
    if stored is None:
        return None
    version, _, text = stored.partition(b' ')
    return Record(name, decode(text), int(version))
