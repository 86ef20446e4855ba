# SPDX-License-Identifier: Apache-2.0
"""The documentation of the Python libraries is what they do."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import openstack
import pytest
import requests
from keystoneauth1 import session
from zaqarclient.queues.v2 import client as v2

from zaqar.tests.functional import calls
from zaqar.tests.functional.calls import Call
from zaqar.tests.functional.test_openstacksdk import Trusted
from zaqar.tests.functional.test_zaqarclient import connect
from zaqar.tests.servers.zaqar import Zaqar

_REFERENCE = pathlib.Path(__file__).parents[3] / 'api-ref' / 'clients.rst'

_MODES = 'admin_mode = true\npooling = true'

_REST = """
[pooling:catalog]
enable_virtual_pool = true
[signed_url]
secret_key = 0123456789abcdef
[oslo_policy]
policy_file = {policy}
"""

#: Neither library says that it is an administrator's where nobody asks.
_POLICY = """
"pools:get_all": ""
"pools:get": ""
"pools:create": ""
"pools:update": ""
"pools:delete": ""
"flavors:create": ""
"flavors:update": ""
"flavors:delete": ""
"health:get": ""
"""

_ITEMS = {
    'messages': '{message}',
    'claims': '{claim}',
    'subscriptions': '{subscription}',
    'queues': '{queue}',
    'pools': '{pool}',
    'flavors': '{flavor}',
}


@pytest.fixture(scope='module')
def zaqar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zaqar]:
    """A server with all there is."""
    folder = tmp_path_factory.mktemp('zaqar')
    policy = folder / 'policy.yaml'
    policy.write_text(_POLICY)
    rest = _REST.format(policy=policy)
    server = Zaqar(folder, general=_MODES, rest=rest)
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def sent_requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked from here on, as the rows say it."""
    sent: list[str] = []
    send = requests.Session.send

    def watch(
        self: requests.Session, request: requests.PreparedRequest, **more: Any
    ) -> requests.Response:
        answer = send(self, request, **more)
        path = (request.path_url).partition('?')[0]
        sent.append(f'{request.method} {named(path)} {answer.status_code}')
        return answer

    monkeypatch.setattr(requests.Session, 'send', watch)
    return sent


def named(path: str) -> str:
    """Return a path with names for what is in it."""
    steps = path.split('/')
    return '/'.join(
        _ITEMS.get(before, step) if step else step
        for before, step in zip(['', *steps], steps, strict=False)
    )


@pytest.fixture
def client(zaqar: Zaqar, project: str, tmp_path: pathlib.Path) -> Any:
    """A client of python-zaqarclient."""
    connected = connect(zaqar, project)
    assert isinstance(connected, v2.Client)
    connected.place = lambda name: f'sqlite:///{tmp_path}/{name}.sqlite'
    yield connected
    connected.flavor('fast', pool_list=['near'], auto_create=False).delete()
    connected.pool('near', auto_create=False).delete()


@pytest.fixture
def proxy(zaqar: Zaqar, project: str) -> Any:
    """The proxy of openstacksdk."""
    cloud = openstack.connection.Connection(
        session=session.Session(auth=Trusted(zaqar.url, project)),
        messaging_endpoint_override=zaqar.url,
        messaging_api_version='2',
    )
    # See test_openstacksdk.py.
    cloud._get_current_location = lambda **_more: None
    return cloud.message


def _check(call: Call, entry: Any, sent_requests: list[str]) -> None:
    made = call.make(entry)
    sent_requests.clear()
    made()
    assert tuple(sent_requests) == call.asks


@pytest.mark.parametrize('call', calls.ZAQARCLIENT, ids=lambda c: c.text)
def test_zaqarclient_asks_what_is_written(
    client: Any, sent_requests: list[str], call: Call
) -> None:
    _check(call, client, sent_requests)


@pytest.mark.parametrize('call', calls.OPENSTACKSDK, ids=lambda c: c.text)
def test_openstacksdk_asks_what_is_written(
    proxy: Any, sent_requests: list[str], call: Call
) -> None:
    _check(call, proxy, sent_requests)


def test_every_call_of_openstacksdk_is_written() -> None:
    from openstack.message.v2._proxy import Proxy

    names = {
        name
        for name, value in vars(Proxy).items()
        if callable(value) and not name.startswith(('_', 'wait_for'))
    }
    written = {re.match(r'\w+', c.text)[0] for c in calls.OPENSTACKSDK}  # type: ignore[index]
    assert names == written


def test_every_call_of_zaqarclient_is_written() -> None:
    from zaqarclient.queues.v2 import (
        claim,
        flavor,
        message,
        pool,
        queues,
        subscription,
    )

    owners = {
        'client': v2.Client,
        'queue': queues.Queue,
        'message': message.Message,
        'claim': claim.Claim,
        'subscription': subscription.Subscription,
        'pool': pool.Pool,
        'flavor': flavor.Flavor,
    }
    #: Parts of others, and what asks nothing of its own.
    parts = {
        *('client.transport', 'client.follow', 'queue.subscriptions'),
        *('claim.ttl', 'claim.age', 'message.claim_id'),
        *('queue.name', 'queue.href', 'queue.metadata_dict'),
    }
    names = {
        f'{noun}.{name}'
        for noun, owner in owners.items()
        for name, value in vars(owner).items()
        if (callable(value) or isinstance(value, property))
        and not name.startswith('_')
        and name not in ('ensure_exists', 'queues_module')
    }
    written = {
        re.match(r'[\w.]+', c.text)[0]  # type: ignore[index]
        for c in calls.ZAQARCLIENT
    }
    assert names - parts == written


@pytest.mark.parametrize('rows', [calls.ZAQARCLIENT, calls.OPENSTACKSDK])
def test_the_reference_has_the_rows(rows: tuple[Call, ...]) -> None:
    assert calls.table(rows) in _REFERENCE.read_text()


def test_the_reference_names_the_versions_that_were_used() -> None:
    from importlib import metadata

    text = ' '.join(_REFERENCE.read_text().split())
    for name in ('python-zaqarclient', 'openstacksdk'):
        assert f'{name} {metadata.version(name)}' in text


if __name__ == '__main__':
    # What api-ref/clients.rst is to hold.
    print(calls.table(calls.ZAQARCLIENT))
    print(calls.table(calls.OPENSTACKSDK))
