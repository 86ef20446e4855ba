# SPDX-License-Identifier: Apache-2.0
"""The tables of both stores.

Names and keys are compared byte by byte on every engine, so they are stored as
UTF-8 where the engine's text type ignores case or trailing blanks. Indexes on
``message`` are partial where the engine supports that, and cover counting and
claiming.
"""

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from zaqar.storage.record_key_check_and_data_encoding import (
    MAX_NAME,
    MAX_PARENT,
)

METADATA = sa.MetaData()


class Key(sa.types.TypeDecorator[str]):
    """Text of so many characters, compared as its UTF-8 bytes."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Any) -> Any:
        """Pick a type without collation rules of its own."""
        if dialect.name == 'mysql' or dialect.name == 'mariadb':
            # VARBINARY neither pads nor folds.
            return dialect.type_descriptor(mysql.VARBINARY(self.length * 4))
        if dialect.name == 'postgresql':
            return dialect.type_descriptor(
                sa.String(self.length, collation='C')
            )
        return dialect.type_descriptor(sa.String(self.length))

    def process_bind_param(self, value: str | None, dialect: Any) -> Any:
        """Encode where bytes are stored."""
        if value is not None and dialect.name in ('mysql', 'mariadb'):
            return value.encode()
        return value

    def process_result_value(self, value: Any, dialect: Any) -> str | None:
        """Decode what was encoded."""
        return value.decode() if isinstance(value, bytes) else value


def _ascii(length: int) -> sa.types.TypeEngine[Any]:
    """Return a type for our own ids: compared as bytes, one byte each."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset='ascii', collation='ascii_bin'),
        'mysql',
        'mariadb',
    )


_BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), 'mysql', 'mariadb')
_JSON = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), 'mysql', 'mariadb')
_REASON = sa.LargeBinary().with_variant(mysql.BLOB(), 'mysql', 'mariadb')
_BIG = sa.BigInteger()

#: Settings of PostgreSQL's tables whose rows change all the time.
_OFTEN_UPDATED = {
    'fillfactor': 70,
    'autovacuum_vacuum_scale_factor': 0.02,
    'autovacuum_analyze_scale_factor': 0.02,
    'autovacuum_vacuum_cost_delay': 0,
}

record = sa.Table(
    'record',
    METADATA,
    sa.Column('kind', _ascii(16), nullable=False),
    sa.Column('parent', Key(MAX_PARENT), nullable=False),
    sa.Column('name', Key(MAX_NAME), nullable=False),
    sa.Column('data', _JSON, nullable=False),
    sa.Column('version', _BIG, nullable=False),
    sa.PrimaryKeyConstraint('kind', 'parent', 'name'),
    mysql_engine='InnoDB',
    sqlite_with_rowid=False,
)

#: ``id`` names the queue in the other tables. A purge gives the queue another
#: one and leaves the old one to the sweeper. ``live`` is NULL until a limit
#: of messages or of bytes is first checked; ``bytes``, of all bodies, until
#: the latter is: see :mod:`zaqar.storage.sqlalchemy.queue_count_subtraction`.
#: ``subscribed`` is the epoch of the flag that the queue may have subscribers,
#: negative while it is not set, so that epochs are never reused.
#: ``least_version`` is that of the oldest metadata that may be used with the
#: queue. ``waited_until`` is only used on PostgreSQL, see
#: :mod:`zaqar.storage.sqlalchemy.postgresql_post_announcements`, and as a
#: number that changes on Galera, see
#: :mod:`zaqar.storage.sqlalchemy.group_locks`.
#: ``grouped`` is 1 from the first message with a group on.
queue = sa.Table(
    'message_queue',
    METADATA,
    sa.Column('qid', _ascii(32), primary_key=True),
    sa.Column('id', _BIG, nullable=False),
    sa.Column('next_seq', _BIG, nullable=False),
    sa.Column('live', _BIG),
    sa.Column('bytes', _BIG),
    sa.Column('counted_at', _BIG),
    sa.Column('dropped_at', _BIG),
    sa.Column('subscribed', _BIG, nullable=False, server_default=sa.text('1')),
    sa.Column(
        'least_version', _BIG, nullable=False, server_default=sa.text('0')
    ),
    sa.Column(
        'waited_until', _BIG, nullable=False, server_default=sa.text('0')
    ),
    sa.Column(
        'grouped', sa.SmallInteger, nullable=False, server_default=sa.text('0')
    ),
    sa.Index('message_queue_id', 'id', unique=True),
    sa.Index('message_queue_dropped', 'dropped_at'),
    mysql_engine='InnoDB',
    sqlite_with_rowid=False,
)

#: ``state``: 0 free, 1 claimed, 2 delayed; the last two until ``wake_at``;
#: 3 behind another one in a group; see
#: :mod:`zaqar.storage.sqlalchemy.next_free_messages_of_groups`.
#: ``public_id`` is the id that a dead letter keeps. ``claim_id`` names a claim
#: only where one holds the message, or its group; see
#: :data:`~.message_rows.ROOM_FOR_CLAIM`. ``reason`` is UTF-8, and may hold
#: unpaired surrogates.
message = sa.Table(
    'message',
    METADATA,
    sa.Column('queue_id', _BIG, nullable=False),
    sa.Column('seq', _BIG, nullable=False),
    sa.Column('rnd', _ascii(16), nullable=False),
    sa.Column('state', sa.SmallInteger, nullable=False),
    sa.Column('wake_at', _BIG, nullable=False),
    sa.Column('expires_at', _BIG, nullable=False),
    sa.Column('created_at', _BIG, nullable=False),
    sa.Column('ttl', sa.Integer, nullable=False),
    sa.Column('client', Key(36), nullable=False),
    sa.Column('claim_id', _ascii(64)),
    sa.Column('claim_count', sa.Integer, nullable=False),
    sa.Column('checksum', _ascii(36)),
    sa.Column('public_id', _ascii(32)),
    sa.Column('body', _BODY, nullable=False),
    sa.Column('group_key', _ascii(128)),
    sa.Column('extras', _JSON),
    sa.Column('reason', _REASON),
    sa.PrimaryKeyConstraint('queue_id', 'seq'),
    mysql_engine='InnoDB',
    sqlite_with_rowid=False,
    postgresql_with=_OFTEN_UPDATED,
)


def _partial(name: str, *columns: str, where: str) -> sa.Index:
    return sa.Index(
        name,
        *columns,
        postgresql_where=sa.text(where),
        sqlite_where=sa.text(where),
    )


# Engines without partial indexes find free rows by the state in the first
# one, and rows that wake by a moment above zero in the second.
message.append_constraint(
    _partial(
        'message_free',
        'queue_id',
        'state',
        'seq',
        'expires_at',
        where='state = 0',
    )
)
message.append_constraint(
    _partial(
        'message_waking',
        'queue_id',
        'wake_at',
        'seq',
        'expires_at',
        'state',
        where='state > 0',
    )
)
message.append_constraint(
    _partial(
        'message_delayed', 'queue_id', 'state', 'seq', where='state = 2'
    ).ddl_if(dialect=cast(Any, ('postgresql', 'sqlite')))
)
message.append_constraint(
    _partial(
        'message_claim', 'queue_id', 'claim_id', where='claim_id IS NOT NULL'
    )
)
message.append_constraint(
    _partial(
        'message_public',
        'queue_id',
        'public_id',
        where='public_id IS NOT NULL',
    )
)
# Those behind others in groups, for lists; MySQL has ``message_free``.
message.append_constraint(
    _partial(
        'message_in_group',
        'queue_id',
        'state',
        'seq',
        'expires_at',
        where='state = 3',
    ).ddl_if(dialect=cast(Any, ('postgresql', 'sqlite')))
)
message.append_constraint(
    _partial(
        'message_group_order',
        'queue_id',
        'group_key',
        'seq',
        'expires_at',
        where='group_key IS NOT NULL',
    )
)
sa.Index('message_expiry', message.c.expires_at)

#: Not used any more. Older processes read it for statistics, and before they
#: change messages of groups, which they cannot do without a column that it
#: had: they know nothing of what is first in a group. A later revision drops
#: it.
_former_group = sa.Table(
    'message_group',
    METADATA,
    sa.Column('queue_id', _BIG, nullable=False),
    sa.Column('group_key', _ascii(128), nullable=False),
    sa.Column('state', sa.SmallInteger, nullable=False),
    sa.Column('wake_at', _BIG, nullable=False),
    sa.Column('head_seq', _BIG, nullable=False),
    sa.Column('tail_seq', _BIG, nullable=False),
    sa.Column('keep_until', _BIG, nullable=False),
    sa.PrimaryKeyConstraint('queue_id', 'group_key'),
    sa.Index('message_group_expiry', 'keep_until'),
    mysql_engine='InnoDB',
    sqlite_with_rowid=False,
    postgresql_with=_OFTEN_UPDATED,
)
_former_group.append_constraint(
    _partial(
        'message_group_free',
        'queue_id',
        'state',
        'head_seq',
        where='state = 0',
    )
)
_former_group.append_constraint(
    _partial(
        'message_group_waking',
        'queue_id',
        'wake_at',
        'head_seq',
        where='state = 1',
    )
)

claim = sa.Table(
    'claim',
    METADATA,
    sa.Column('queue_id', _BIG, nullable=False),
    sa.Column('id', _ascii(64), nullable=False),
    sa.Column('ttl', sa.Integer, nullable=False),
    sa.Column('expires_at', _BIG, nullable=False),
    sa.PrimaryKeyConstraint('queue_id', 'id'),
    sa.Index('claim_expiry', 'expires_at'),
    mysql_engine='InnoDB',
    sqlite_with_rowid=False,
)

#: What was stored under a token: ``ids`` holds the ids one after another. With
#: a fingerprint, ``queue_id`` is a negative number that is made of the
#: ``qid``: a purge does not change it.
post_token = sa.Table(
    'post_token',
    METADATA,
    sa.Column('queue_id', _BIG, nullable=False),
    sa.Column('token', _ascii(64), nullable=False),
    sa.Column('ids', _BODY, nullable=False),
    sa.Column('keep_until', _BIG, nullable=False),
    sa.Column('fingerprint', _ascii(64)),
    sa.PrimaryKeyConstraint('queue_id', 'token'),
    sa.Index('post_token_keep', 'keep_until'),
    mysql_engine='InnoDB',
    sqlite_with_rowid=False,
)

#: The messages whose duplicates are recognized: a purge leaves them.
dedup = sa.Table(
    'dedup',
    METADATA,
    sa.Column('qid', _ascii(32), nullable=False),
    sa.Column('dedup_id', _ascii(128), nullable=False),
    sa.Column('message_id', _ascii(32), nullable=False),
    sa.Column('keep_until', _BIG, nullable=False),
    sa.PrimaryKeyConstraint('qid', 'dedup_id'),
    sa.Index('dedup_keep', 'keep_until'),
    mysql_engine='InnoDB',
    sqlite_with_rowid=False,
)

#: Ids of queues whose rows are to be removed.
garbage = sa.Table(
    'garbage',
    METADATA,
    sa.Column('queue_id', _BIG, primary_key=True, autoincrement=False),
    mysql_engine='InnoDB',
)
