# SPDX-License-Identifier: Apache-2.0
"""One API over pools of every kind: reference/storage, "Pools and flavors".

Each store is a pool with a flavor and a queue of its name. What the service
itself keeps is in none of them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import pathlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import requests

from zaqar.storage.abstract_stores import OUTBOX, PENDING, SCAN_LIMIT
from zaqar.tests.contract.crowd import ends_within, starvation
from zaqar.tests.functional import pool_servers
from zaqar.tests.functional.pool_servers import PoolServer
from zaqar.tests.servers.zaqar import Zaqar, with_database

HEADERS = {
    'Client-ID': '9c0d3b52-6f0a-4a64-9d3e-0d3f0f7a3c11',
    'X-Project-ID': 'demo',
    'X-Roles': 'admin',
}

GENERAL = 'admin_mode = True\npooling = True\nunreliable = True'

#: Only ``zaqar-gc`` sweeps.
SETTINGS = (
    '[gc]\ninterval = 0\n[drivers]\ntransport = wsgi\n'
    # Notices are messages, too.
    '[storage]\nmessage_pipeline ='
)

NAMES = [kind.name for kind in pool_servers.KINDS]

#: Seconds within which a caller must know.
BOUND = 5.0

#: Seconds for a service to find a store again.
PATIENCE = 60.0

#: Long ago, in milliseconds: what lived for a minute then is dead.
PAST = 1_000_000_000_000

#: Dead messages of a store: more than one batch.
DEAD = 25

STEPS = {
    'create_queue',
    'post_messages',
    'claim_messages',
    'list_messages',
    'delete_messages',
    'delete_claim',
    'bulk_delete_messages',
    'delete_queue',
}

Pools = Mapping[str, PoolServer]


class Api:
    """Asks a service."""

    def __init__(self, server: Zaqar) -> None:
        self._server = server

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer to a request below ``/v2/``."""
        path = path.removeprefix('/v2/')
        return requests.request(
            method,
            f'{self._server.url}/v2/{path}',
            headers=HEADERS,
            json=body,
            timeout=60,
        )

    def done(self, method: str, path: str, body: Any = None) -> Any:
        """Return the document of an answer that has to be a good one."""
        answer = self.ask(method, path, body)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def post(self, queue: str, *bodies: Any) -> None:
        """Post messages."""
        messages = [{'body': body, 'ttl': 3600} for body in bodies]
        document = {'messages': messages}
        self.done('POST', f'queues/{queue}/messages', document)

    def claim(self, queue: str) -> Sequence[Any]:
        """Claim messages; return them as they are shown."""
        terms = {'ttl': 300, 'grace': 60}
        answer = self.done('POST', f'queues/{queue}/claims', terms)
        return answer['messages'] if answer else []

    def bodies(self, queue: str) -> list[Any]:
        """Return what can be read from a queue, oldest first."""
        page = self.done('GET', f'queues/{queue}/messages?echo=true')
        return [message['body'] for message in page['messages']]


@pytest.fixture(scope='module')
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pools]:
    """All stores, by name."""
    folder: pathlib.Path = tmp_path_factory.mktemp('pools')
    servers: dict[str, PoolServer] = {}
    with contextlib.ExitStack() as stack:
        for kind in pool_servers.KINDS:
            servers[kind.name] = kind(folder)
            stack.callback(servers[kind.name].stop)
        yield servers


@pytest.fixture(scope='module')
def server(
    pools: Pools, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """The service that knows them."""
    folder: pathlib.Path = tmp_path_factory.mktemp('zaqar')
    service = Zaqar(folder, general=GENERAL, rest=SETTINGS)
    for name in ('postgresql', 'mariadb'):
        _make_tables(folder, pools[name].uri)
    service.start()
    try:
        for pool in pools.values():
            _register(Api(service), pool)
        yield service
        assert service.stop() == 0
    finally:
        service.stop()


@pytest.fixture
def api(server: Zaqar) -> Api:
    """Whom to ask."""
    return Api(server)


def _make_tables(folder: pathlib.Path, uri: str) -> None:
    home = folder / secrets.token_hex(4)
    home.mkdir()
    programs = Zaqar(home, rest=with_database(uri))
    done = programs.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr


def _make_pool(api: Api, name: str, document: Any) -> None:
    """Make a pool of a server that may be slow in greeting."""
    end = time.monotonic() + PATIENCE
    while not (answer := api.ask('PUT', f'pools/{name}', document)).ok:
        assert 'cannot connect' in answer.text, answer.text
        assert time.monotonic() < end, answer.text


def _register(api: Api, pool: PoolServer) -> None:
    name = pool.name
    document = {'uri': pool.uri, 'weight': 1, 'flavor': name}
    _make_pool(api, name, document)
    api.done('PUT', f'flavors/{name}', {'pool_list': [name]})
    api.done('PUT', f'queues/{name}', {'_flavor': name})


def _new_queue(api: Api, flavor: str, **metadata: Any) -> str:
    name = secrets.token_hex(8)
    api.done('PUT', f'queues/{name}', {'_flavor': flavor, **metadata})
    return name


@pytest.mark.parametrize('name', NAMES)
def test_a_flavor_shows_what_its_store_promises(
    api: Api, pools: Pools, name: str
) -> None:
    shown = api.done('GET', f'flavors/{name}')
    assert shown['pool_list'] == [name]
    assert set(shown['capabilities']) == pools[name].promises
    assert len(shown['capabilities']) == len(pools[name].promises)


def test_a_pool_that_promises_other_things_is_no_part_of_a_flavor(
    api: Api, pools: Pools
) -> None:
    uri = f'{pools["redis"].uri}?dbid=1'
    for flavor in ('sqlite', 'postgresql', 'mariadb', 'mongodb'):
        document = {'uri': uri, 'weight': 1, 'flavor': flavor}
        answer = api.ask('PUT', 'pools/other', document)
        assert answer.status_code == 400
        assert 'capabilities' in answer.json()['description']
    assert api.ask('GET', 'pools/other').status_code == 404


@pytest.mark.parametrize('name', NAMES)
def test_messages_of_a_queue_are_in_its_pool_and_in_no_other(
    api: Api, pools: Pools, name: str
) -> None:
    queue, mark = _new_queue(api, name), secrets.token_hex(8)
    api.post(queue, *(f'{mark} {number}' for number in range(5)))
    held = {pool: pools[pool].holds(mark) for pool in pools}
    assert held == {**dict.fromkeys(pools, 0), name: 5}
    taken = api.claim(queue)
    assert [message['body'][-1] for message in taken] == [*'01234']
    assert api.claim(queue) == []
    for message in taken[1:]:
        api.done('DELETE', message['href'])
    stats = api.done('GET', f'queues/{queue}/stats')['messages']
    assert (stats['claimed'], stats['free'], stats['total']) == (1, 0, 1)
    api.done('DELETE', taken[0]['href'])
    assert api.done('GET', f'queues/{queue}/stats')['messages']['total'] == 0


@pytest.mark.parametrize(
    ('source', 'target'),
    [*itertools.pairwise([*NAMES, NAMES[0]])],
)
def test_a_dead_letter_moves_into_another_pool(
    api: Api, pools: Pools, source: str, target: str
) -> None:
    letters = _new_queue(api, target)
    queue = _new_queue(
        api, source, _dead_letter_queue=letters, _max_claim_count=1
    )
    letter = secrets.token_hex(8)
    api.post(queue, letter)
    (taken,) = api.claim(queue)
    claim = taken['href'].rpartition('claim_id=')[2]
    api.done('DELETE', f'queues/{queue}/claims/{claim}')
    assert api.claim(queue) == []
    assert api.bodies(queue) == []
    assert api.bodies(letters) == [letter]
    assert (pools[source].holds(letter), pools[target].holds(letter)) == (0, 1)


def _is_well(state: Mapping[str, Any]) -> bool:
    return (
        state['storage_reachable']
        and set(state['message_volume']) == {'free', 'claimed', 'total'}
        and set(state['operation_status']) == STEPS
        and all(one['succeeded'] for one in state['operation_status'].values())
    )


def test_health_tells_of_each_pool(api: Api) -> None:
    report = api.done('GET', 'health')
    assert report['catalog_reachable'] is True
    assert {name for name in NAMES if _is_well(report[name])} == set(NAMES)


def _requests(queue: str) -> Sequence[tuple[str, str, Any]]:
    post = {'messages': [{'body': 'during', 'ttl': 300}]}
    return (
        ('POST', f'queues/{queue}/messages', post),
        ('GET', f'queues/{queue}/messages', None),
        ('POST', f'queues/{queue}/claims', {'ttl': 300, 'grace': 60}),
        ('DELETE', f'queues/{queue}/messages?pop=1', None),
        ('GET', f'queues/{queue}/stats', None),
    )


def _is_503(answer: Any) -> bool:
    assert answer.status_code == 503, answer.text
    return int(answer.headers['Retry-After']) > 0


@pytest.mark.parametrize('name', pool_servers.SERVED)
def test_a_pool_that_is_down_leaves_the_others_serving(
    api: Api, pools: Pools, name: str
) -> None:
    queues = {flavor: _new_queue(api, flavor) for flavor in NAMES}
    api.post(queues[name], 'before')
    with pools[name].away():
        for request in _requests(queues[name]):
            with ends_within(BOUND):
                assert _is_503(api.ask(*request)), request
        for other in {*NAMES} - {name}:
            api.post(queues[other], 'during')
            (taken,) = api.claim(queues[other])
            api.done('DELETE', taken['href'])
        report = api.done('GET', 'health')
        assert report[name] == {
            'storage_reachable': False,
            'operation_status': {},
        }
        well = {other for other in NAMES if _is_well(report[other])}
        assert well == {*NAMES} - {name}
    _until_served(api, queues[name])
    # It may have kept what it could not acknowledge, but lost nothing.
    assert api.bodies(queues[name])[0] == 'before'
    assert _is_well(api.done('GET', 'health')[name])


def _until_served(api: Api, queue: str) -> None:
    end = time.monotonic() + PATIENCE
    while not (answer := api.ask('GET', f'queues/{queue}/messages')).ok:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < end, 'it does not come back'
        time.sleep(0.1)


@pytest.mark.parametrize('name', pool_servers.SERVED)
def test_a_crowd_at_a_pool_that_is_down_is_answered_in_time(
    api: Api, pools: Pools, name: str
) -> None:
    """Twice as many ask as there are threads, as others do elsewhere."""
    queues = {flavor: _new_queue(api, flavor) for flavor in NAMES}
    with (
        pools[name].away(),
        concurrent.futures.ThreadPoolExecutor(8) as crowd,
    ):
        with starvation() as starved:
            calls = [
                crowd.submit(api.ask, *request)
                for request in _requests(queues[name]) * 2
            ]
            for other in {*NAMES} - {name}:
                api.post(queues[other], 'during')
                assert api.bodies(queues[other]) == ['during']
            answers = [call.result() for call in calls]
            bound = BOUND + starved()
        assert all(map(_is_503, answers))
        assert max(one.elapsed.total_seconds() for one in answers) < bound
    _until_served(api, queues[name])


@pytest.mark.parametrize('name', NAMES)
def test_a_pool_that_owes_notifications_stays(
    api: Api, pools: Pools, tmp_path: pathlib.Path, name: str
) -> None:
    uri, options = pools[name].spare()
    if name in ('postgresql', 'mariadb'):
        _make_tables(tmp_path, uri)
    document = {'uri': uri, 'weight': 0, 'options': options}
    _make_pool(api, 'spare', document)
    with pool_servers.opened(uri, **options) as store:
        for qid in (OUTBOX, PENDING):
            # Living behind more dead than are looked at for one page.
            pool_servers.post_for_a_minute(
                store, qid, SCAN_LIMIT + 100, now=PAST
            )
            pool_servers.post_for_a_minute(
                store, qid, 1, now=store.clock.now()
            )
            answer = api.ask('DELETE', 'pools/spare')
            assert answer.status_code == 403
            assert 'notifications' in answer.json()['description']
            store.purge(qid, now=store.clock.now())
    api.done('DELETE', 'pools/spare')
    assert api.ask('GET', 'pools/spare').status_code == 404


def _bury(pools: Pools, mark: str) -> None:
    """Store messages that are dead, in queues that nobody looks at."""
    for pool in pools.values():
        with pool.opened() as store:
            pool_servers.post_for_a_minute(
                store, secrets.token_hex(16), DEAD, now=PAST, mark=mark
            )
        assert pool.holds(mark) == DEAD, pool.name


def test_gc_removes_the_dead_from_every_pool_and_leaves_the_living(
    server: Zaqar, api: Api, pools: Pools
) -> None:
    dead, alive = secrets.token_hex(8), secrets.token_hex(8)
    queues = {name: _new_queue(api, name) for name in NAMES}
    for queue in queues.values():
        api.post(queue, alive, alive)
    _bury(pools, dead)
    done = server.run(program='gc')
    assert done.returncode == 0, done.stderr
    counts = dict(line.split(': ') for line in done.stdout.splitlines())
    named = {f'pool {name}' for name in NAMES}
    assert set(counts) == {'message store', *named}
    for name in NAMES:
        assert int(counts[f'pool {name}'].split()[0]) >= DEAD
        assert pools[name].holds(dead) == 0
        assert api.bodies(queues[name]) == [alive, alive]


def test_the_background_sweep_reaches_every_pool(
    server: Zaqar, pools: Pools, tmp_path: pathlib.Path
) -> None:
    dead = secrets.token_hex(8)
    _bury(pools, dead)
    database = with_database(f'sqlite:///{server.folder}/zaqar.sqlite')
    rest = f'{SETTINGS}\n{database}'.replace('interval = 0', 'interval = 1')
    second = Zaqar(tmp_path, general=GENERAL, rest=rest).start()
    try:
        for name, pool in pools.items():
            end = time.monotonic() + PATIENCE
            while pool.holds(dead):
                assert time.monotonic() < end, f'{name} is not swept'
                time.sleep(0.1)
    finally:
        assert second.stop() == 0
