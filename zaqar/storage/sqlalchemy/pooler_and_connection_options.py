# SPDX-License-Identifier: Apache-2.0
"""Options of connections to an SQL server: pooler, number, waits in Galera."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: The engines that the driver knows.
BACKENDS = ('sqlite', 'postgresql', 'mysql', 'mariadb')


class Pooler(enum.StrEnum):
    """The kind of pooler in front of PostgreSQL."""

    AUTO = 'auto'
    NONE = 'none'
    TRANSACTION = 'transaction'


@dataclass(frozen=True)
class SqlConnectionSettings:
    """How connections to a server are made and used.

    :ivar pooler: the kind of pooler in front of PostgreSQL
    :ivar max_connections: of this process at once
    :ivar galera_sync_wait: whether a node of a Galera cluster waits, before
        each transaction, for what others have committed
    """

    pooler: Pooler = Pooler.AUTO
    max_connections: int = 20
    galera_sync_wait: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return those that options of a store say."""
        return cls(
            Pooler(options.get('sql_pooler', cls.pooler)),
            options.get('sql_max_connections', cls.max_connections),
            options.get('galera_sync_wait', cls.galera_sync_wait),
        )
