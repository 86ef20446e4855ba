# SPDX-License-Identifier: Apache-2.0
"""Groups whose claims have ended, while another program has locked them."""

import sqlalchemy as sa

from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.driver_declaration import parse
from zaqar.tests.contract.probe import Hand, Probe, bodies

#: By their key: by another index MariaDB would lock others as well.
_LOCK = (
    'SELECT seq FROM message{hint} WHERE queue_id = '
    '(SELECT id FROM message_queue WHERE qid = :qid) '
    'AND seq IN (:one, :other) FOR UPDATE'
)


def test_claims_and_pops_pass_over_them(uri: str, store: MessageStore) -> None:
    queue = Probe(store, Hand())
    names = queue.post('a', 'b', group='g')
    one, other = (int(name[:16], 16) for name in names)
    locked = {'qid': queue.qid, 'one': one, 'other': other}
    queue.take(2, ttl=60)
    queue.hand.move(60)
    queue.post('c', 'd')
    engine = sa.create_engine(
        parse(uri), poolclass=sa.NullPool, isolation_level='READ COMMITTED'
    )
    with engine.connect() as connection:
        hint = index_hint(connection.dialect.name, 'PRIMARY')
        connection.execute(sa.text(_LOCK.format(hint=hint)), locked)
        claim = queue.claim(1)
        assert claim is not None
        assert bodies(claim.messages) == ['c']
        assert bodies(queue.pop(2)) == ['d']
        assert queue.claim(1) is None
    claim = queue.claim(1)
    assert claim is not None
    assert bodies(claim.messages) == ['a']
