# SPDX-License-Identifier: Apache-2.0
"""``openstack messaging`` finds the service and does what it says."""

from __future__ import annotations

import importlib.metadata
import pathlib
from collections.abc import Iterator

import pytest

from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.functional.keystone.commands import (
    Shell,
    sit_down,
)
from zaqar.tests.functional.keystone.conftest import configuration, serve
from zaqar.tests.servers.keystone import Keystone

_REFERENCE = pathlib.Path(__file__).parents[4] / 'api-ref' / 'clients.rst'

_MODES = """
[DEFAULT]
admin_mode = true
pooling = true
[pooling:catalog]
enable_virtual_pool = true
sqlite_path = {folder}
[signed_url]
secret_key = 0123456789abcdef
[oslo_policy]
policy_file = {policy}
"""

_POLICY = '"queues:purge": "role:admin"'


@pytest.fixture(scope='module')
def origin(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service that the catalogue names and where only admins purge."""
    folder = tmp_path_factory.mktemp('zaqar')
    policy = folder / 'policy.yaml'
    policy.write_text(_POLICY)
    # The folders of tests, where they put pools, are beside this one.
    modes = _MODES.format(policy=policy, folder=folder.parent)
    text = configuration(keystone) + modes
    with serve(text, folder) as url, keystone.published('messaging', url):
        yield url


@pytest.fixture(scope='module')
def user(keystone: Keystone, origin: str, project: str) -> Shell:
    """A member of the project."""
    return log_in(keystone, origin, project, 'member')


@pytest.fixture(scope='module')
def chief(keystone: Keystone, origin: str, project: str) -> Shell:
    """An administrator of the project."""
    return log_in(keystone, origin, project, 'admin')


@pytest.fixture(scope='module')
def foreigner(keystone: Keystone, origin: str) -> Shell:
    """A member of another project."""
    return log_in(keystone, origin, keystone.project(), 'member')


@pytest.fixture
def pools(chief: Shell, tmp_path: pathlib.Path) -> Iterator[str]:
    """The names of two pools, as commands take them."""
    names = ('left', 'right')
    for name in names:
        pool = {'uri': f'sqlite:///{tmp_path}/{name}.sqlite', 'weight': 1}
        path = f'/v2/pools/{name}'
        assert chief.caller.ask('PUT', path, json=pool).status_code == 201
    yield ','.join(names)
    for name in names:
        chief.caller.ask('DELETE', f'/v2/pools/{name}')


def log_in(keystone: Keystone, origin: str, project: str, role: str) -> Shell:
    """Return the shell of somebody with a role in a project."""
    user = keystone.user(project, role)
    token = keystone.token(user, project)
    return sit_down(keystone, Caller(origin, token, project), user)


def subscribe(caller: Caller, queue: str) -> str:
    """Make a subscription and return its path."""
    path = f'/v2/queues/{queue}/subscriptions'
    body = {'subscriber': 'http://example.org/jobs', 'ttl': 600}
    subscription = caller.ask('POST', path, json=body).json()
    return f'{path}/{subscription["subscription_id"]}'


def total(caller: Caller, queue: str) -> int:
    """Count the messages of a queue."""
    stats = caller.ask('GET', f'/v2/queues/{queue}/stats').json()
    return int(stats['messages']['total'])


def test_ping_and_homedoc_reach_the_service(user: Shell) -> None:
    assert user.show('ping') == (['GET /v2/ping 204'], {'Pingable': True})

    done = user.run('homedoc')

    assert done.calls == ['GET /v2/ 200']
    assert 'rel/queues' in done.read()['resources']


def test_keys_that_are_shown_as_null_are_set(user: Shell, queue: str) -> None:
    user.show('queue', 'create', queue)
    text = '{"_dead_letter_queue": "failed", "_max_claim_count": 3}'
    user.do('queue', 'set', 'metadata', queue, text)
    seen = user.caller.ask('GET', f'/v2/queues/{queue}').json()
    assert seen['_dead_letter_queue'] == 'failed'
    assert seen['_max_claim_count'] == 3


def test_a_queue_is_made_described_listed_counted_and_deleted(
    user: Shell, queue: str
) -> None:
    path = f'/v2/queues/{queue}'
    created = user.show('queue', 'create', queue)
    changed = user.do('queue', 'set', 'metadata', queue, '{"colour": "red"}')
    requests, described = user.show('queue', 'get', 'metadata', queue)
    listed = user.show('queue', 'list', '--detailed', '--with_count')
    counted = user.show('queue', 'stats', queue)
    deleted = user.do('queue', 'delete', queue)

    assert created == ([f'PUT {path} 201'], {'Name': queue})
    assert changed == [f'GET {path} 200', f'PATCH {path} 200']
    assert requests == [f'GET {path} 200']
    assert described['Metadata']['colour'] == 'red'
    assert listed[0] == ['GET /v2/queues?detailed=True&with_count=True 200']
    (row,) = [item for item in listed[1] if item['Name'] == queue]
    assert row['Metadata_Dict'] == described['Metadata']
    nothing = {'claimed': 0, 'free': 0, 'total': 0}
    assert counted[0] == [f'GET {path}/stats 200']
    assert counted[1] == {'Stats': {'messages': nothing}}
    assert deleted == [f'DELETE {path} 204']
    assert not user.caller.owns(queue)


def test_messages_are_posted_and_listed(user: Shell, queue: str) -> None:
    path = f'/v2/queues/{queue}/messages'
    words = (queue, '--client-id', user.caller.client)
    texts = '[{"body": {"n": 1}, "ttl": 200}, {"body": "two"}]'

    posted = user.do('message', 'post', *words, texts)
    requests, every = user.show('message', 'list', *words, '--echo')
    identifier = every[1]['ID']
    one = user.show('message', 'list', *words, '--message-ids', identifier)

    assert posted == [f'POST {path} 201']
    rest = 'echo=True&include_claimed=False&include_delayed=False'
    assert requests == [f'GET {path}?{rest} 200']
    assert [(m['Body'], m['TTL']) for m in every] == [
        ({'n': 1}, 200),
        ('two', 3600),
    ]
    assert one[0] == [f'GET {path}?ids={identifier} 200']
    assert [m['Body'] for m in one[1]] == ['two']


def test_a_claim_is_made_shown_renewed_and_released(
    user: Shell, queue: str
) -> None:
    user.caller.post(queue)
    path = f'/v2/queues/{queue}/claims'

    created = user.show(
        'claim', 'create', queue, '--ttl', '90', '--limit', '5'
    )
    (message,) = created[1]
    claim = (queue, message['Claim_ID'])
    one = f'{path}/{message["Claim_ID"]}'
    shown = user.show('claim', 'query', *claim)
    renewed = user.show('claim', 'renew', *claim, '--ttl', '500')
    lives = user.caller.ask('GET', one).json()
    released = user.do('claim', 'release', *claim)

    assert created[0] == [f'POST {path}?limit=5 201']
    assert message['Messages'] == {'event': 'made'}
    assert shown[0] == [f'GET {one} 200']
    assert [item['Message'] for item in shown[1]] == [{'event': 'made'}]
    assert renewed[0] == [f'PATCH {one} 204', f'GET {one} 200']
    assert len(renewed[1]) == 1
    assert lives['ttl'] == 500
    assert released == [f'DELETE {one} 204']
    assert user.caller.ask('GET', one).status_code == 404


def test_a_subscription_is_made_listed_changed_shown_and_deleted(
    user: Shell, queue: str
) -> None:
    path = f'/v2/queues/{queue}/subscriptions'
    first, second = 'http://example.org/1', 'http://example.org/2'

    created = user.show('subscription', 'create', queue, first, '600')
    identifier = created[1]['ID']
    one = f'{path}/{identifier}'
    listed = user.show('subscription', 'list', queue)
    words = ('--subscriber', second, '--ttl', '700', '--options', '{"n": 1}')
    changed = user.show('subscription', 'update', queue, identifier, *words)
    shown = user.show('subscription', 'show', queue, identifier)
    deleted = user.do('subscription', 'delete', queue, identifier)

    assert created[0] == [f'POST {path} 201', f'GET {one} 200']
    assert created[1]['Subscriber'] == first
    assert listed[0] == [f'GET {path} 200']
    assert [(s['ID'], s['TTL']) for s in listed[1]] == [(identifier, 600)]
    assert changed[0] == [f'PATCH {one} 204']
    assert shown[0] == [f'GET {one} 200']
    assert shown[1]['Subscriber'] == second
    assert (shown[1]['TTL'], shown[1]['Options']) == (700, {'n': 1})
    assert deleted == [f'DELETE {one} 204']
    assert user.caller.ask('GET', one).status_code == 404


def test_whoever_has_a_signed_url_needs_no_token(
    user: Shell, queue: str
) -> None:
    words = ('--methods', 'GET,POST', '--ttl-seconds', '600')

    requests, grant = user.show('queue', 'signed', 'url', queue, *words)

    assert requests == [f'POST /v2/queues/{queue}/share 200']
    nobody = Caller(user.caller.origin)
    signed = {
        'URL-Signature': grant['Signature'],
        'URL-Expires': grant['Expires'],
        'URL-Methods': grant['Methods'],
        'URL-Paths': grant['Paths'],
        'X-Project-ID': grant['Project ID'],
    }
    path = f'/v2/queues/{queue}/messages'
    assert nobody.post(queue, headers=signed).status_code == 201
    seen = nobody.ask('GET', f'{path}?echo=true', signed).json()
    assert [m['body'] for m in seen['messages']] == [{'event': 'made'}]
    assert nobody.ask('GET', path).status_code == 401
    popped = nobody.ask('DELETE', f'{path}?pop=1', signed)
    assert popped.status_code == 404
    assert total(user.caller, queue) == 1


def test_purge_is_refused_to_all_but_those_the_policy_names(
    user: Shell, chief: Shell, queue: str
) -> None:
    user.caller.post(queue)
    subscription = subscribe(user.caller, queue)
    words = ('queue', 'purge', queue, '--resource_types', 'messages')

    assert user.fail(*words) == [f'POST /v2/queues/{queue}/purge 403']
    assert total(user.caller, queue) == 1
    assert chief.do(*words) == [f'POST /v2/queues/{queue}/purge 204']
    assert total(user.caller, queue) == 0
    assert user.caller.ask('GET', subscription).status_code == 200


def test_another_project_sees_nothing(
    user: Shell, foreigner: Shell, queue: str
) -> None:
    user.caller.post(queue)
    subscription = subscribe(user.caller, queue)
    identifier = subscription.rpartition('/')[2]
    words = (queue, '--echo', '--client-id', user.caller.client)

    assert foreigner.show('queue', 'list')[1] == []
    assert foreigner.show('message', 'list', *words)[1] == []
    assert foreigner.show('subscription', 'list', queue)[1] == []
    gone = foreigner.fail('subscription', 'show', queue, identifier)
    assert gone == [f'GET {subscription} 404']
    assert foreigner.do('queue', 'delete', queue)
    assert user.caller.owns(queue)
    assert total(user.caller, queue) == 1


def test_another_project_takes_and_changes_nothing(
    user: Shell, foreigner: Shell, queue: str
) -> None:
    base = f'/v2/queues/{queue}'
    change = [{'op': 'add', 'path': '/metadata/n', 'value': 1}]
    patch = 'application/openstack-messaging-v2.0-json-patch'
    user.caller.make(queue)
    user.caller.ask('PATCH', base, {'Content-Type': patch}, json=change)
    user.caller.post(queue)
    claim = user.caller.ask('POST', f'{base}/claims', json={'ttl': 600})
    held = claim.headers['Location'].rpartition('/')[2]
    user.caller.post(queue)
    subscription = subscribe(user.caller, queue)
    there = (queue, subscription.rpartition('/')[2])

    # What is not there for them.
    gone = {
        ('claim', 'query', queue, held): f'GET {base}/claims/{held} 404',
        ('claim', 'renew', queue, held): f'PATCH {base}/claims/{held} 404',
        (
            *('subscription', 'update', *there),
            *('--ttl', '60'),
        ): f'PATCH {subscription} 404',
    }
    for words, request in gone.items():
        assert foreigner.fail(*words) == [request]
    words = ('queue', 'set', 'metadata', queue, '{"n": 2}')
    assert foreigner.fail(*words)[-1] == f'PATCH {base} 404'
    # What is empty for them, and what does nothing.
    counted = foreigner.show('queue', 'stats', queue)[1]['Stats']['messages']
    assert counted == {'claimed': 0, 'free': 0, 'total': 0}
    described = foreigner.show('queue', 'get', 'metadata', queue)[1]
    assert 'n' not in described['Metadata']
    claimed = foreigner.run('claim', 'create', queue)
    assert claimed.calls == [f'POST {base}/claims?limit=10 204']
    assert foreigner.do('claim', 'release', queue, held)
    assert foreigner.do('subscription', 'delete', *there)
    # What is their own.
    _, grant = foreigner.show('queue', 'signed', 'url', queue)
    assert grant['Project ID'] == foreigner.caller.project
    words = (queue, '--client-id', foreigner.caller.client)
    assert foreigner.do('message', 'post', *words, '[{"body": 1}]')

    assert total(user.caller, queue) == 2
    assert user.caller.ask('GET', base).json()['n'] == 1
    assert user.caller.ask('GET', claim.headers['Location']).ok
    assert user.caller.ask('GET', subscription).json()['ttl'] == 600


def test_pools_flavors_and_health_are_for_administrators(
    user: Shell, pools: str, tmp_path: pathlib.Path
) -> None:
    uri = f'sqlite:///{tmp_path}/mine.sqlite'
    refused = {
        ('pool', 'list'): 'GET /v2/pools 403',
        ('pool', 'show', 'left'): 'GET /v2/pools/left 403',
        ('pool', 'create', 'mine', uri, '1'): 'PUT /v2/pools/mine 403',
        (
            *('pool', 'update', 'left'),
            *('--pool_weight', '9'),
        ): 'PATCH /v2/pools/left 403',
        ('pool', 'delete', 'left'): 'DELETE /v2/pools/left 403',
        (
            *('flavor', 'create', 'mine'),
            *('--pool_list', pools),
        ): 'PUT /v2/flavors/mine 403',
        (
            *('flavor', 'update', 'mine'),
            *('--pool_list', pools),
        ): 'PATCH /v2/flavors/mine 403',
        ('flavor', 'delete', 'mine'): 'DELETE /v2/flavors/mine 403',
        ('health',): 'GET /v2/health 403',
    }
    for words, request in refused.items():
        assert user.fail(*words) == [request]
    # These are for everybody to see.
    requests, _ = user.show('flavor', 'list')
    assert requests == ['GET /v2/flavors?detailed=False 200']


def test_a_pool_is_made_listed_changed_shown_and_deleted(
    chief: Shell, tmp_path: pathlib.Path
) -> None:
    uri = f'sqlite:///{tmp_path}/pool.sqlite'
    created = chief.show('pool', 'create', 'near', uri, '7')
    changed = chief.show('pool', 'update', 'near', '--pool_weight', '9')
    listed = chief.show('pool', 'list', '--detailed')
    shown = chief.show('pool', 'show', 'near')
    deleted = chief.do('pool', 'delete', 'near')

    one = '/v2/pools/near'
    assert created[0] == [f'PUT {one} 201']
    assert created[1]['Weight'] == 7
    assert changed[0] == [f'PATCH {one} 200', f'GET {one} 200']
    assert listed[0] == ['GET /v2/pools?detailed=True 200']
    (row,) = [pool for pool in listed[1] if pool['Name'] == 'near']
    assert (row['Weight'], row['URI']) == (9, uri)
    assert shown[0] == [f'GET {one} 200']
    assert (shown[1]['Weight'], shown[1]['URI']) == (9, uri)
    assert deleted == [f'DELETE {one} 204']
    assert chief.caller.ask('GET', one).status_code == 404


def test_a_flavor_is_made_listed_changed_shown_and_deleted(
    chief: Shell, pools: str
) -> None:
    created = chief.show('flavor', 'create', 'fast', '--pool_list', 'left')
    words = ('--pool_list', pools)
    changed = chief.show('flavor', 'update', 'fast', *words)
    listed = chief.show('flavor', 'list', '--detailed')
    shown = chief.show('flavor', 'show', 'fast')
    deleted = chief.do('flavor', 'delete', 'fast')

    one = '/v2/flavors/fast'
    assert created[0] == [f'PUT {one} 201']
    assert created[1]['Pool list'] == ['left']
    assert changed[0] == [f'PATCH {one} 200', f'GET {one} 200']
    assert listed[0] == ['GET /v2/flavors?detailed=True 200']
    (row,) = listed[1]
    assert sorted(row['Pool list']) == ['left', 'right']
    assert 'CLAIMS' in row['Capabilities']
    assert shown[0] == [f'GET {one} 200']
    assert sorted(shown[1]['Pool list']) == ['left', 'right']
    assert deleted == [f'DELETE {one} 204']
    assert chief.caller.ask('GET', one).status_code == 404


def test_health_tells_of_the_stores(chief: Shell) -> None:
    done = chief.run('health')

    assert done.calls == ['GET /v2/health 200']
    health = done.read()
    assert health.pop('catalog_reachable') is True
    assert health
    assert all(store['storage_reachable'] for store in health.values())


def test_the_reference_tells_of_every_command() -> None:
    entries = importlib.metadata.entry_points(group='openstack.messaging.v2')
    commands = [entry.name.replace('_', ' ') for entry in entries]
    text = _REFERENCE.read_text()

    assert commands
    assert [c for c in commands if f'``{c}' not in text] == []
