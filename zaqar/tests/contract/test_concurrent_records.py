# SPDX-License-Identifier: Apache-2.0
"""Records changed, and dead letters moved, by many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from zaqar.controllers.caller_and_services import Context
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract.caller import Caller
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.probe import ids, token


def test_of_eight_creators_one_makes_the_record(
    management: ManagementStore,
) -> None:
    for _ in range(10):
        create = partial(management.create, 'queue', 'p', token())
        creations = each(create, [{'n': number} for number in range(8)])
        assert creations.count(True) == 1
        record = management.get(*create.args)
        assert record is not None
        assert dict(record.data) == {'n': creations.index(True)}


def test_of_eight_deleters_one_gets_the_record(
    management: ManagementStore,
) -> None:
    for _ in range(10):
        parent = token()
        management.create('queue', parent, 'a', {'n': 1})
        delete = partial(management.delete, 'queue', parent)
        deletions = each(delete, ['a'] * 8)
        assert deletions.count(None) == 7


def test_of_changes_and_deletions_of_one_version_one_is_made(
    management: ManagementStore,
) -> None:
    for _ in range(10):
        key = ('queue', 'p', token())
        management.create(*key, {'n': 1})
        replace = partial(management.replace, *key, {'n': 2}, version=1)
        delete = partial(management.delete, *key, version=1)
        calls: list[Callable[[], object]] = [replace, delete] * 4
        results = each(lambda call: call(), calls)
        assert sum(map(bool, results)) == 1
        record = management.get(*key)
        assert (record is None) == any(results[1::2])


def test_of_eight_replacements_at_once_none_is_lost(
    management: ManagementStore,
) -> None:
    name = token()
    management.create('queue', 'p', name, {'n': 0})

    def add_one() -> bool:
        seen = management.get('queue', 'p', name)
        assert seen is not None
        data = {'n': seen.data['n'] + 1}
        return management.replace(
            'queue', 'p', name, data, version=seen.version
        )

    def add_ten(_: int) -> None:
        done = 0
        while done < 10:
            done += add_one()

    each(add_ten, range(8))
    record = management.get('queue', 'p', name)
    assert record is not None
    assert dict(record.data) == {'n': 80}


def test_eight_claimers_move_each_dead_letter_once(
    ctx: Context,
    management: ManagementStore,
    four: Sequence[MessageStore],
) -> None:
    work = Caller(ctx, 'work')
    work.create(_max_claim_count=1, _dead_letter_queue='dead')
    posted: list[str] = []
    for start in range(0, 200, 20):
        posted += work.post(*range(start, start + 20))
    claims = [work.claim(20) for _ in range(10)]
    for claim in claims:
        assert claim is not None
        work.release(claim.id)

    def claim_some(number: int) -> None:
        one = work.by(Catalogue(management, four[number % 4]))
        for _ in range(5):
            assert one.claim(20) is None

    each(claim_some, range(8))
    assert work.claim() is None
    assert sorted(ids(work.other('dead').everything())) == sorted(posted)
    assert work.everything() == []
