# SPDX-License-Identifier: Apache-2.0
"""An owner of queues uses the console of a service with Keystone."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from zaqar.tests.functional.console import services, tour
from zaqar.tests.functional.console.browser import User
from zaqar.tests.functional.console.producer import Producer
from zaqar.tests.servers.chromium import chromium
from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.receivers import Receiver
from zaqar.tests.servers.sql import SqlServer
from zaqar.tests.servers.zaqar import Zaqar, with_database

#: Seconds for which a token lives that is to expire before somebody's eyes.
_SHORT = 6


@pytest.fixture
def server(
    keystone: Keystone, postgresql: SqlServer, tmp_path: pathlib.Path
) -> Iterator[Zaqar]:
    """A service on PostgreSQL that trusts Keystone."""
    running = services.service(
        tmp_path,
        general='auth_strategy = keystone',
        console=f'identity_url = {keystone.url}',
        rest=keystone.authtoken_section()
        + with_database(postgresql.database()),
    )
    done = running.run('upgrade', 'head', program='sql_db_manage')
    assert done.returncode == 0, done.stderr
    yield running.start()
    running.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A subscriber."""
    running = Receiver()
    yield running
    running.stop()


@pytest.mark.proves('console')
def test_an_owner_does_everything_once(
    keystone: Keystone,
    server: Zaqar,
    receiver: Receiver,
    tmp_path: pathlib.Path,
) -> None:
    project = keystone.project('shop')
    member = keystone.user(project, 'member')
    token = keystone.token(member, project)
    producer = Producer(server.url, {'X-Auth-Token': token})
    tour.prepare(producer, receiver)
    credentials = {
        'User': member.name,
        'Password': member.password,
        'Project': 'shop',
    }
    with chromium() as chrome:
        owner = User(chrome, f'{server.url}/console', tmp_path / 'downloads')
        owner.opens()
        owner.signs_in(**credentials)
        owner.sees('does not allow this page', 'dialog')
        _allow(keystone, server.url)
        owner.signs_in(Password='wrong')
        owner.sees('Keystone refuses them (401)', 'dialog')
        owner.signs_in(Password=member.password)
        tour.look_around(owner, producer, receiver)
        tour.lose_the_service(owner, server.stop, server.start)
        # A token that ends while it is used, and another way to go on.
        owner.opens()
        owner.signs_in(
            Sign_in_with='token',
            Token=keystone.minted_token(member, project, _SHORT),
        )
        owner.sees('has expired', 'dialog')
        credential, secret = keystone.application_credential(member, project)
        owner.signs_in(
            Sign_in_with='credential',
            Id_of_the_application=credential,
            Its_secret=secret,
        )
        owner.sees('busy-00', '#queues td')
        assert owner.complaints() == []


def _allow(keystone: Keystone, origin: str) -> None:
    """Have Keystone allow a page, as an operator does in ``[cors]``."""
    # findings/keystone-cors-config-file.sh
    with keystone.down():
        keystone.environment['OS_CORS__ALLOWED_ORIGIN'] = origin
