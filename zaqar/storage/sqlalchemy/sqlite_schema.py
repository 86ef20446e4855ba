# SPDX-License-Identifier: Apache-2.0
"""What makes the tables in an SQLite file; see :mod:`.tables`.

``zaqar/tests/functional/test_migrations.py`` compares them.
"""

_SCRIPT = """
CREATE TABLE record (
    kind VARCHAR(16) NOT NULL,
    parent VARCHAR(400) NOT NULL,
    name VARCHAR(128) NOT NULL,
    data BLOB NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (kind, parent, name)
) WITHOUT ROWID;
CREATE TABLE message_queue (
    qid VARCHAR(32) NOT NULL,
    id BIGINT NOT NULL,
    next_seq BIGINT NOT NULL,
    live BIGINT,
    bytes BIGINT,
    counted_at BIGINT,
    dropped_at BIGINT,
    subscribed BIGINT DEFAULT 1 NOT NULL,
    least_version BIGINT DEFAULT 0 NOT NULL,
    waited_until BIGINT DEFAULT 0 NOT NULL,
    grouped SMALLINT DEFAULT 0 NOT NULL,
    PRIMARY KEY (qid)
) WITHOUT ROWID;
CREATE INDEX message_queue_dropped
ON message_queue (dropped_at);
CREATE UNIQUE INDEX message_queue_id
ON message_queue (id);
CREATE TABLE message (
    queue_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    rnd VARCHAR(16) NOT NULL,
    state SMALLINT NOT NULL,
    wake_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    ttl INTEGER NOT NULL,
    client VARCHAR(36) NOT NULL,
    claim_id VARCHAR(64),
    claim_count INTEGER NOT NULL,
    checksum VARCHAR(36),
    public_id VARCHAR(32),
    body BLOB NOT NULL,
    group_key VARCHAR(128),
    extras BLOB,
    reason BLOB,
    PRIMARY KEY (queue_id, seq)
) WITHOUT ROWID;
CREATE INDEX message_claim
ON message (queue_id, claim_id) WHERE claim_id IS NOT NULL;
CREATE INDEX message_delayed
ON message (queue_id, state, seq) WHERE state = 2;
CREATE INDEX message_expiry
ON message (expires_at);
CREATE INDEX message_free
ON message (queue_id, state, seq, expires_at) WHERE state = 0;
CREATE INDEX message_group_order
ON message (queue_id, group_key, seq, expires_at) WHERE group_key IS NOT NULL;
CREATE INDEX message_in_group
ON message (queue_id, state, seq, expires_at) WHERE state = 3;
CREATE INDEX message_public
ON message (queue_id, public_id) WHERE public_id IS NOT NULL;
CREATE INDEX message_waking
ON message (queue_id, wake_at, seq, expires_at, state) WHERE state > 0;
CREATE TABLE message_group (
    queue_id BIGINT NOT NULL,
    group_key VARCHAR(128) NOT NULL,
    state SMALLINT NOT NULL,
    wake_at BIGINT NOT NULL,
    head_seq BIGINT NOT NULL,
    tail_seq BIGINT NOT NULL,
    keep_until BIGINT NOT NULL,
    PRIMARY KEY (queue_id, group_key)
) WITHOUT ROWID;
CREATE INDEX message_group_expiry
ON message_group (keep_until);
CREATE INDEX message_group_free
ON message_group (queue_id, state, head_seq) WHERE state = 0;
CREATE INDEX message_group_waking
ON message_group (queue_id, wake_at, head_seq) WHERE state = 1;
CREATE TABLE claim (
    queue_id BIGINT NOT NULL,
    id VARCHAR(64) NOT NULL,
    ttl INTEGER NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (queue_id, id)
) WITHOUT ROWID;
CREATE INDEX claim_expiry
ON claim (expires_at);
CREATE TABLE post_token (
    queue_id BIGINT NOT NULL,
    token VARCHAR(64) NOT NULL,
    ids BLOB NOT NULL,
    keep_until BIGINT NOT NULL,
    fingerprint VARCHAR(64),
    PRIMARY KEY (queue_id, token)
) WITHOUT ROWID;
CREATE INDEX post_token_keep
ON post_token (keep_until);
CREATE TABLE dedup (
    qid VARCHAR(32) NOT NULL,
    dedup_id VARCHAR(128) NOT NULL,
    message_id VARCHAR(32) NOT NULL,
    keep_until BIGINT NOT NULL,
    PRIMARY KEY (qid, dedup_id)
) WITHOUT ROWID;
CREATE INDEX dedup_keep
ON dedup (keep_until);
CREATE TABLE garbage (
    queue_id BIGINT NOT NULL,
    PRIMARY KEY (queue_id)
);
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    PRIMARY KEY (version_num)
)
"""

#: The statements, one after the other.
STATEMENTS = tuple(_SCRIPT.split(';'))
