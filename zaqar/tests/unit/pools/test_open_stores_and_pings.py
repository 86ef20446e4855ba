# SPDX-License-Identifier: Apache-2.0
"""Open stores of pools: when they are opened, replaced and given up."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from oslo_config import cfg

from zaqar.errors import ConfigurationError, Conflict, StoreUnavailable
from zaqar.pools import (
    open_stores_and_pings,
    pool_records,
    pool_selection,
    registered_and_virtual_pools,
    uri_reservations,
)
from zaqar.storage import installed_drivers
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.driver_declaration import Driver
from zaqar.storage.record_updates_and_listing import BATCH
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.storage.store_opener import POOL_GROUP, POOL_OPTS, PoolOpener

QID = 'f' * 32


@dataclass
class Timer:
    """Seconds that tests move."""

    at: float = 100.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Wall:
    """The clock of the management store, which tests move."""

    at: int = 1_800_000_000_000

    def now(self) -> int:
        return self.at


@dataclass
class Counted:
    """A driver that counts what is opened; the stores are real."""

    opened: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def driver(self) -> Driver:
        return dataclasses.replace(DRIVER, open_messages=self._open)

    def _open(self, uri: str, values: Mapping[str, Any]) -> MessageStore:
        self.opened.append((uri, values))
        return DRIVER.open_messages(uri, values)


@dataclass
class Bench:
    """Pools over a management store in a folder."""

    folder: pathlib.Path
    management: ManagementStore
    counted: Counted
    timer: Timer
    pools: registered_and_virtual_pools.Pools

    def uri(self, name: str) -> str:
        return f'sqlite:///{self.folder}/{name}.sqlite'

    def put(self, name: str, **fields: Any) -> None:
        data = {'uri': self.uri(name), 'weight': 1, 'options': {}}
        self.pools.records.put(name, {**data, 'flavor': None, **fields})

    def uri_of(self, name: str) -> str | None:
        pool = self.pools.records.get(name)
        return None if pool is None else pool.uri

    def put_elsewhere(self, name: str, **fields: Any) -> None:
        """Change a pool as another process would."""
        record = self.management.get('pool', '', name)
        assert record is not None
        data = {**record.data, **fields}
        assert self.management.replace(
            'pool', '', name, data, version=record.version
        )


def _unavailable(*_key: str) -> None:
    raise StoreUnavailable


def _opener(folder: pathlib.Path) -> PoolOpener:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar-test')
    conf.register_opts(POOL_OPTS, POOL_GROUP)
    conf.set_override('sqlite_path', str(folder), POOL_GROUP)
    return PoolOpener(conf)


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def bench(
    tmp_path: pathlib.Path, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    management = DRIVER.open_management(f'sqlite:///{tmp_path}/zaqar', {})
    management.clock = wall  # type: ignore[assignment]
    virtual = DRIVER.open_messages(f'sqlite:///{tmp_path}/zaqar', {})
    counted, timer = Counted(), Timer()
    installed = {'sqlalchemy': counted.driver()}
    monkeypatch.setattr(installed_drivers, 'installed', lambda: installed)
    pools = registered_and_virtual_pools.Pools(
        management,
        _opener(tmp_path),
        virtual,
        use_virtual=False,
        timer=timer,
    )
    yield Bench(tmp_path, management, counted, timer, pools)
    pools.close()
    virtual.close()
    management.close()


def test_a_store_is_opened_once(bench: Bench) -> None:
    bench.put('east')
    first = bench.pools.store('east')
    bench.timer.at += 1000
    assert bench.pools.store('east') is first
    assert [uri for uri, _ in bench.counted.opened] == [bench.uri('east')]


def test_a_change_elsewhere_is_seen_after_a_second(bench: Bench) -> None:
    bench.put('east')
    first = bench.pools.store('east')
    bench.put_elsewhere('east', uri=bench.uri('moved'))
    bench.timer.at += open_stores_and_pings.FRESH / 2
    assert bench.pools.store('east') is first
    bench.timer.at += open_stores_and_pings.FRESH / 2
    assert bench.pools.store('east') is not first
    assert bench.counted.opened[-1][0] == bench.uri('moved')


def test_changed_options_open_the_store_anew(bench: Bench) -> None:
    bench.put('east')
    bench.pools.store('east')
    bench.pools.records.change(
        'east', {'options': {'group_commit_window_ms': 9}}
    )
    bench.pools.store('east')
    windows = [
        values['group_commit_window_ms'] for _, values in bench.counted.opened
    ]
    assert windows == [5, 9]


@pytest.mark.parametrize('change', [{'weight': 7}, {'flavor': 'gold'}])
def test_what_is_not_about_the_store_leaves_it_open(
    bench: Bench, change: dict[str, Any]
) -> None:
    bench.put('east')
    first = bench.pools.store('east')
    bench.pools.records.change('east', change)
    assert bench.pools.store('east') is first


def test_a_store_that_was_replaced_can_finish_what_is_under_way(
    bench: Bench,
) -> None:
    bench.put('east')
    first = bench.pools.store('east')
    bench.pools.records.change('east', {'uri': bench.uri('moved')})
    bench.pools.store('east')
    assert first.stats(QID, now=first.clock.now()).total == 0
    bench.timer.at += open_stores_and_pings.LINGER
    bench.pools.records.change('east', {'uri': bench.uri('third')})
    bench.pools.store('east')
    with pytest.raises(Exception, match=r'closed|answer|unavailable'):
        first.purge(QID, now=first.clock.now())


def test_a_missing_pool_is_believed_to_be_missing_for_a_second(
    bench: Bench,
) -> None:
    with pytest.raises(open_stores_and_pings.PoolMissing):
        bench.pools.store('east')
    data = {'uri': bench.uri('east'), 'weight': 1, 'options': {}}
    bench.management.create('pool', '', 'east', data)
    with pytest.raises(open_stores_and_pings.PoolMissing):
        bench.pools.store('east')
    bench.timer.at += open_stores_and_pings.FRESH
    assert bench.pools.store('east')


def test_a_pool_that_is_made_here_is_seen_at_once(bench: Bench) -> None:
    with pytest.raises(open_stores_and_pings.PoolMissing):
        bench.pools.store('east')
    bench.put('east')
    assert bench.pools.store('east')


def test_a_pool_that_cannot_be_opened_is_tried_again_after_a_second(
    bench: Bench,
) -> None:
    bench.put('east', uri=f'sqlite:///{bench.folder}/later/east.sqlite')
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            bench.pools.store('east')
    assert len(bench.counted.opened) == 1
    (bench.folder / 'later').mkdir()
    bench.timer.at += open_stores_and_pings.FRESH
    assert bench.pools.store('east')


def test_a_pool_that_is_being_deleted_gets_no_queue(bench: Bench) -> None:
    bench.put('east')
    assert pool_selection.choose(bench.pools, None) == 'east'
    bench.pools.records.begin_deletion('east')
    assert not bench.pools.records.use('east')
    with pytest.raises(StoreUnavailable):
        pool_selection.choose(bench.pools, None)


def test_a_pool_whose_deletion_was_given_up_gets_queues(bench: Bench) -> None:
    bench.put('east')
    mark = bench.pools.records.begin_deletion('east')
    assert bench.pools.records.give_up_deletion('east', mark)
    assert pool_selection.choose(bench.pools, None) == 'east'
    assert bench.pools.records.use('east')


def test_a_pool_whose_deletion_has_died_gets_queues_again(
    bench: Bench, wall: Wall
) -> None:
    bench.put('east')
    mark = bench.pools.records.begin_deletion('east')
    wall.at += pool_records.CLOSING - 1
    assert not bench.pools.records.use('east')
    wall.at += 1
    assert pool_selection.choose(bench.pools, None) == 'east'
    assert bench.pools.records.use('east')
    # Had it been alive after all, it would notice.
    assert not bench.pools.records.end_deletion('east', mark)
    assert bench.pools.records.get('east')


def test_of_two_deletions_of_a_pool_the_later_one_counts(bench: Bench) -> None:
    bench.put('east')
    first = bench.pools.records.begin_deletion('east')
    second = bench.pools.records.begin_deletion('east')
    assert not bench.pools.records.give_up_deletion('east', first)
    assert not bench.pools.records.end_deletion('east', first)
    assert bench.pools.records.end_deletion('east', second)
    assert bench.pools.records.get('east') is None


def test_a_deletion_that_died_at_its_last_step_can_be_repeated(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put('east')
    mark = bench.pools.records.begin_deletion('east')
    with monkeypatch.context() as patch:
        patch.setattr(bench.management, 'delete', _unavailable)
        with pytest.raises(StoreUnavailable):
            bench.pools.records.end_deletion('east', mark)
    wall.at += pool_records.CLOSING
    # It has no queue and gets none, until somebody says what to do with it.
    assert not bench.pools.records.use('east')
    with pytest.raises(StoreUnavailable):
        pool_selection.choose(bench.pools, None)
    mark = bench.pools.records.begin_deletion('east')
    assert bench.pools.records.end_deletion('east', mark)
    bench.put('east')
    assert pool_selection.choose(bench.pools, None) == 'east'


def test_a_pool_is_not_made_again_while_it_is_being_removed(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put('east')
    mark = bench.pools.records.begin_deletion('east')
    with monkeypatch.context() as patch:
        patch.setattr(bench.management, 'delete', _unavailable)
        with pytest.raises(StoreUnavailable):
            bench.pools.records.end_deletion('east', mark)
    wall.at += pool_records.CLOSING - 1
    with pytest.raises(StoreUnavailable):
        bench.put('east')
    wall.at += 1
    bench.put('east')
    assert pool_selection.choose(bench.pools, None) == 'east'


# One pool for a URI.


def test_a_uri_that_was_taken_a_moment_ago_is_not_to_be_had(
    bench: Bench, wall: Wall
) -> None:
    uri = bench.uri('east')
    assert uri_reservations.reserve(
        bench.management, uri, 'east', bench.uri_of
    )
    with pytest.raises(Conflict):
        bench.put('west', uri=uri)
    assert bench.pools.records.get('west') is None
    # Whoever took it has died before the pool was there.
    wall.at += uri_reservations.STALE
    bench.put('west', uri=uri)
    with pytest.raises(Conflict):
        bench.put('east', uri=uri)


def test_a_uri_that_is_taken_while_it_is_released_stays_taken(
    bench: Bench, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, uri = bench.management, bench.uri('east')
    assert uri_reservations.reserve(store, uri, 'east', bench.uri_of)
    delete = store.delete

    def take_first(*key: str, **more: Any) -> Any:
        wall.at += uri_reservations.STALE
        assert uri_reservations.reserve(store, uri, 'west', bench.uri_of)
        return delete(*key, **more)

    monkeypatch.setattr(store, 'delete', take_first)
    uri_reservations.release(store, uri, 'east')
    assert not uri_reservations.reserve(store, uri, 'north', bench.uri_of)


def test_the_uri_of_a_pool_is_its_own_for_good(
    bench: Bench, wall: Wall
) -> None:
    bench.put('east')
    wall.at += 10 * uri_reservations.STALE
    with pytest.raises(Conflict):
        bench.put('west', uri=bench.uri('east'))
    bench.put('east')


@pytest.mark.parametrize('how', ['put', 'change', 'delete'])
def test_a_uri_that_a_pool_has_no_more_is_to_be_had_at_once(
    bench: Bench, how: str
) -> None:
    bench.put('east')
    if how == 'put':
        bench.put('east', uri=bench.uri('moved'))
    elif how == 'change':
        bench.pools.records.change('east', {'uri': bench.uri('moved')})
    else:
        mark = bench.pools.records.begin_deletion('east')
        bench.pools.records.end_deletion('east', mark)
    bench.put('west', uri=bench.uri('east'))
    record = bench.pools.records.get('west')
    assert record is not None
    assert record.uri == bench.uri('east')


def test_of_many_who_record_one_uri_at_once_one_gets_it(bench: Bench) -> None:
    uri = bench.uri('same')

    def record(number: int) -> bool:
        try:
            bench.put(f'p{number}', uri=uri)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as executor:
        done = list(executor.map(record, range(8)))
    assert done.count(True) == 1
    assert [pool.uri for pool in bench.pools.records.all()] == [uri]


def test_all_pools_are_seen_however_many(bench: Bench) -> None:
    names = [f'p{number:03}' for number in range(BATCH + 5)]
    for name in names:
        bench.put(name)
    assert [pool.name for pool in bench.pools.records.all()] == names


# Settings.


def test_options_are_laid_over_the_drivers_and_read_as_its_types(
    bench: Bench,
) -> None:
    opener = bench.pools.opener
    options = {'group_commit_window_ms': '12', 'of_another_driver': 1}
    values = opener.settings(DRIVER, options)
    assert values['group_commit_window_ms'] == 12
    assert values['sqlite_synchronous'] == 'FULL'
    assert 'of_another_driver' not in values
    assert opener.settings(DRIVER, {})['group_commit_window_ms'] == 5


def test_the_uri_is_no_option(bench: Bench) -> None:
    values = bench.pools.opener.settings(DRIVER, {'uri': 'sqlite:///x'})
    assert values['uri'] != 'sqlite:///x'


@pytest.mark.parametrize(
    'uri', ['mongodb://a', 'sqlite', '', '://', 'postgresql']
)
def test_a_uri_needs_the_scheme_of_a_driver(bench: Bench, uri: str) -> None:
    with pytest.raises(ConfigurationError):
        bench.pools.opener.driver(uri)


@pytest.mark.parametrize(
    'uri',
    [
        'sqlite:///a',
        'postgresql://h/n',
        'postgresql+psycopg://h/n',
        'mysql+pymysql://h/n',
        'mariadb://h/n',
    ],
)
def test_a_scheme_is_known_with_and_without_its_dialect(
    bench: Bench, uri: str
) -> None:
    assert bench.pools.opener.driver(uri).name == 'sqlalchemy'
