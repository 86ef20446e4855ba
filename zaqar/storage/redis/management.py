# SPDX-License-Identifier: Apache-2.0
"""Records: a hash for each kind and parent, and their names in order.

A change may be repeated when the answer to it was lost: then what is found is
compared with what was to be written, so that our own first try is not taken
for a rival's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zaqar import clock
from zaqar.models import Record
from zaqar.storage import base
from zaqar.storage.redis import keys, scripts
from zaqar.storage.redis.server import Server

#: Characters of a parent and of a name.
PARENT, NAME = 400, 128


class ManagementStore(base.ManagementStore):
    """Records on a server.

    :param server: belongs to this store from now on
    :param prefix: what all its keys begin with
    """

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._home = keys.of_server(prefix)
        self.clock = clock.Clock(lambda: server.now(self._home))

    def ping(self) -> None:
        self._server.ping(self._home)

    def create(
        self, kind: str, parent: str, name: str, data: Mapping[str, Any]
    ) -> bool:
        return bool(
            self._change(kind, parent, 'create', name, _encode(data), 0)
        )

    def get(self, kind: str, parent: str, name: str) -> Record | None:
        records, _ = self._keys(kind, parent, name)
        return _record(name, self._server.call(records, 'HGET', records, name))

    def replace(
        self,
        kind: str,
        parent: str,
        name: str,
        data: Mapping[str, Any],
        *,
        version: int,
    ) -> bool:
        return bool(
            self._change(kind, parent, 'replace', name, _encode(data), version)
        )

    def delete(self, kind: str, parent: str, name: str) -> Record | None:
        found = self._change(kind, parent, 'delete', name, '', 0)
        return _record(name, found)

    def list(
        self, kind: str, parent: str, *, after: str | None, limit: int
    ) -> Sequence[Record]:
        bound = '-' if after is None else f'({after}'
        flat = self._server.run(
            scripts.RECORDS,
            self._keys(kind, parent, ''),
            (bound, limit),
            writes=False,
        )
        found = [
            _record(flat[at].decode(), flat[at + 1])
            for at in range(0, len(flat), 2)
        ]
        return [record for record in found if record is not None]

    def count(self, kind: str, parent: str) -> int:
        records, _ = self._keys(kind, parent, '')
        return int(self._server.call(records, 'HLEN', records))

    def close(self) -> None:
        self._server.close()

    def _change(
        self,
        kind: str,
        parent: str,
        act: str,
        name: str,
        data: str,
        version: int,
    ) -> Any:
        return self._server.run(
            scripts.RECORD,
            self._keys(kind, parent, name),
            (act, name, data, version),
            tells=True,
        )

    def _keys(self, kind: str, parent: str, name: str) -> Sequence[str]:
        """Return the two keys of a kind and parent.

        :raises ValueError: the name of the record is too long
        """
        if len(parent) > PARENT or len(name) > NAME:
            raise ValueError('the key of a record is too long')
        return keys.of_records(self._prefix, kind, parent)


def _record(name: str, found: bytes | None) -> Record | None:
    if found is None:
        return None
    version, _, text = found.partition(b' ')
    return Record(name, json.loads(text), int(version))


def _encode(data: Mapping[str, Any]) -> str:
    """Return JSON text.

    ASCII only, since a client's text may hold surrogates without a partner,
    which have no UTF-8.
    """
    return json.dumps(dict(data), allow_nan=False, separators=(',', ':'))
