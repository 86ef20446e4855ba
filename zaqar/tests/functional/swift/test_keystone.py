# SPDX-License-Identifier: Apache-2.0
"""Bodies in a Swift that asks a Keystone who we are."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.swift.driver_declaration import DRIVER
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.functional.swift.objects import LARGE
from zaqar.tests.servers.keystone import Keystone, User
from zaqar.tests.servers.swift import Swift


@pytest.fixture(scope='module')
def keystone() -> Iterator[Keystone]:
    """A Keystone."""
    server = Keystone()
    yield server
    server.stop()


@pytest.fixture(scope='module')
def swift(keystone: Keystone) -> Iterator[Swift]:
    """A Swift that trusts it, and stands in its catalogue."""
    server = Swift(keystone.authtoken())
    url = f'http://127.0.0.1:{server.port}/v1/KEY_$(project_id)s'
    with keystone.published('object-store', url):
        yield server
    server.stop()


@pytest.fixture(scope='module')
def project(keystone: Keystone) -> str:
    """The project of the bodies: its id."""
    return keystone.project('bodies of zaqar')


@pytest.fixture(scope='module')
def member(keystone: Keystone, project: str) -> User:
    """Who may make containers there."""
    return keystone.user(project, 'member')


def opened(
    keystone: Keystone, rows: str, user: User, **options: object
) -> MessageStore:
    """Open a store as a user."""
    uri = f'swift://{user.name}:{user.password}@/bodies%20of%20zaqar'
    settings = {'auth_url': keystone.url, 'management': (rows, {}), **options}
    return DRIVER.open_messages(uri, settings)


@pytest.fixture
def queue(
    keystone: Keystone, swift: Swift, member: User, rows: str, hand: Hand
) -> Iterator[Probe]:
    """A new queue."""
    store = opened(keystone, rows, member)
    yield Probe(store, hand)
    store.close()


def test_bodies_go_to_the_project_and_come_back(queue: Probe) -> None:
    queue.store.ping()
    queue.post(LARGE, 'b')
    assert queue.everything() == [LARGE, 'b']
    assert len(queue.pop()) == 2


@pytest.mark.parametrize(
    'options',
    [
        {'interface': 'public'},
        {'region_name': 'RegionOne'},
        {'project_domain_id': 'default', 'user_domain_id': 'default'},
    ],
    ids=str,
)
def test_options_choose_domain_and_endpoint(
    keystone: Keystone,
    swift: Swift,
    member: User,
    rows: str,
    hand: Hand,
    options: dict[str, str],
) -> None:
    store = opened(keystone, rows, member, **options)
    queue = Probe(store, hand)
    queue.post(LARGE)
    assert queue.everything() == [LARGE]
    store.close()


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'interface': 'internal'}, 'no object store'),
        ({'region_name': 'Nowhere'}, 'no object store'),
        ({'project_domain_name': 'Nobody'}, 'no token'),
        ({'user_domain_id': 'nobody'}, 'no token'),
    ],
    ids=str,
)
def test_what_keystone_does_not_know_ends_the_start(
    keystone: Keystone,
    swift: Swift,
    member: User,
    rows: str,
    options: dict[str, str],
    text: str,
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        opened(keystone, rows, member, **options)


def test_who_has_no_role_in_the_project_ends_the_start(
    keystone: Keystone, swift: Swift, project: str, rows: str
) -> None:
    stranger = keystone.user(project, 'reader')
    with pytest.raises(ConfigurationError, match='refuses'):
        opened(keystone, rows, stranger)


def test_a_token_outlives_an_outage_of_keystone(
    queue: Probe, keystone: Keystone
) -> None:
    queue.post(LARGE)
    with keystone.down():
        assert queue.everything() == [LARGE]


def test_a_start_without_keystone_waits_for_it(
    keystone: Keystone, swift: Swift, member: User, rows: str, hand: Hand
) -> None:
    with keystone.down():
        store = opened(keystone, rows, member)
        queue = Probe(store, hand)
        with pytest.raises(StoreUnavailable):
            queue.post(LARGE)
    queue.post(LARGE)
    assert queue.everything() == [LARGE]
    store.close()


def test_the_folder_of_rows_holds_no_body(
    queue: Probe, tmp_path: pathlib.Path
) -> None:
    queue.post(LARGE)
    assert LARGE.encode() not in b''.join(
        path.read_bytes() for path in tmp_path.iterdir()
    )
