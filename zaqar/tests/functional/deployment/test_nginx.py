# SPDX-License-Identifier: Apache-2.0
"""The API below a prefix, as nginx hands it to each WSGI server."""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from zaqar.tests.functional.deployment.load import HEADERS
from zaqar.tests.functional.keystone.conftest import configuration
from zaqar.tests.servers import process
from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.nginx import Nginx

_BIN = pathlib.Path(sys.executable).parent
_ETC = pathlib.Path(__file__).parents[4] / 'etc' / 'zaqar'

_SOCKET = """
location ~ ^/messaging(?<path>/.*|)$ {{
    include /etc/nginx/uwsgi_params;
    uwsgi_param SCRIPT_NAME /messaging;
    uwsgi_param PATH_INFO $path;
    uwsgi_pass 127.0.0.1:{port};
}}
"""


class Behind:
    """A WSGI server behind nginx.

    :ivar url: the API as clients know it
    """

    def __init__(
        self, folder: pathlib.Path, conf: pathlib.Path, kind: str
    ) -> None:
        self.port = process.free_port()
        self.folder = folder
        command, env = _COMMANDS[kind](self)
        env |= {'OS_ZAQAR_CONFIG_FILES': str(conf)}
        self.server = process.Process(command, folder / f'{kind}.log', env=env)
        self.server.wait_until(lambda: process.accepts(self.port))
        self.web = (
            Nginx(folder / 'nginx', _SOCKET.format(port=self.port))
            if kind == 'uwsgi'
            else site(folder, self.port)
        )
        self.url = f'{self.web.url}/messaging'

    def stop(self) -> None:
        self.web.stop()
        self.server.stop()


def site(folder: pathlib.Path, *ports: int) -> Nginx:
    """Return nginx with our sample of a site, for servers on these ports."""
    text = (_ETC / 'nginx-site.conf').read_text()
    line = 'server 127.0.0.1:8888 max_fails=0;'
    assert line in text
    lines = [line.replace('8888', str(port)) for port in ports]
    own = process.free_port()
    text = text.replace(line, '\n'.join(lines))
    text = text.replace('listen 80;', f'listen 127.0.0.1:{own};')
    nginx = Nginx(folder / 'nginx', 'return 404;', http=text)
    nginx.url = f'http://127.0.0.1:{own}'
    return nginx


def _uwsgi(
    behind: Behind, option: str = 'socket'
) -> tuple[list[str], dict[str, str]]:
    """Run our sample, but for where it listens."""
    if not (_BIN / 'uwsgi').exists():
        process.missing('uWSGI is not installed')
    text = (_ETC / 'uwsgi.ini').read_text()
    line = '\nhttp-socket = 127.0.0.1:8888\n'
    assert line in text
    path = behind.folder / 'uwsgi.ini'
    path.write_text(
        text.replace(line, f'\n{option} = 127.0.0.1:{behind.port}\n')
    )
    return [str(_BIN / 'uwsgi'), '--ini', str(path)], {}


def _granian(behind: Behind) -> tuple[list[str], dict[str, str]]:
    return [
        *(str(_BIN / 'granian'), '--interface', 'wsgi'),
        *('--host', '127.0.0.1', '--port', str(behind.port)),
        *('--workers', '2', '--blocking-threads', '4'),
        'zaqar.transport.wsgi.app:application',
    ], {}


_COMMANDS = {
    'uwsgi': _uwsgi,
    'uwsgi-http': functools.partial(_uwsgi, option='http-socket'),
    'granian': _granian,
}


@pytest.fixture(scope='module')
def keystone() -> Iterator[Keystone]:
    """A Keystone."""
    server = Keystone()
    yield server
    server.stop()


@pytest.fixture(scope='module', params=_COMMANDS)
def behind(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keystone: Keystone,
) -> Iterator[Behind]:
    """The API that trusts a Keystone, served by each WSGI server."""
    folder = tmp_path_factory.mktemp(request.param)
    conf = folder / 'zaqar.conf'
    conf.write_text(
        f'{configuration(keystone)}\n'
        f'[signed_url]\nsecret_key = {"k" * 32}\n'
        '[drivers:management_store:sqlalchemy]\n'
        f'uri = sqlite:///{folder}/zaqar.sqlite\n'
    )
    proxy = Behind(folder, conf, request.param)
    yield proxy
    proxy.stop()


@pytest.fixture(scope='module')
def token(keystone: Keystone) -> str:
    """A token of a member of a project."""
    project = keystone.project()
    return keystone.token(keystone.user(project, 'member'), project)


Ask = Callable[..., requests.Response]


@pytest.fixture
def ask(behind: Behind, token: str) -> Ask:
    """A function that asks for a path below the prefix."""

    def send(method: str, path: str, **more: Any) -> requests.Response:
        headers = {'Client-ID': HEADERS['Client-ID'], 'X-Auth-Token': token}
        return requests.request(
            method,
            behind.url + path,
            headers=more.pop('headers', headers),
            timeout=30,
            **more,
        )

    return send


@pytest.mark.parametrize('path', ['', '/'])
def test_versions_are_shown_at_the_prefix_itself(ask: Ask, path: str) -> None:
    answer = ask('GET', path, headers={})
    assert answer.status_code == 300
    links = answer.json()['versions'][0]['links']
    assert links == [{'href': '/v2/', 'rel': 'self'}]


def test_a_token_is_asked_for(ask: Ask) -> None:
    assert ask('GET', '/v2/queues', headers={}).status_code == 401
    assert ask('GET', '/v2/queues').status_code == 200
    assert ask('GET', '/v2/ping').status_code == 204
    assert ask('GET', '/healthcheck', headers={}).status_code == 200


def test_links_and_locations_do_not_hold_the_prefix(ask: Ask) -> None:
    """Clients put what the catalogue names, prefix and all, before them."""
    home = ask('GET', '/v2').json()['resources']
    hrefs = [
        each.get('href') or each['href-template'] for each in home.values()
    ]
    assert hrefs
    assert all(href.startswith('/v2/') for href in hrefs)
    answer = ask('PUT', '/v2/queues/links')
    assert answer.headers['Location'] == '/v2/queues/links'
    posted = ask(
        'POST', '/v2/queues/links/messages', json={'messages': [{'body': 1}]}
    )
    (href,) = posted.json()['resources']
    assert href.startswith('/v2/queues/links/messages/')
    assert ask('GET', href).json()['body'] == 1
    claim = ask('POST', '/v2/queues/links/claims', json={'ttl': 60})
    location = claim.headers['Location']
    assert location.startswith('/v2/queues/links/claims/')
    assert ask('GET', location).status_code == 200
    (message,) = claim.json()['messages']
    assert ask('DELETE', message['href']).status_code == 204


def test_a_signed_url_needs_no_token_and_does_not_know_the_prefix(
    ask: Ask,
) -> None:
    ask('PUT', '/v2/queues/signed')
    shared = ask(
        'POST', '/v2/queues/signed/share', json={'methods': ['POST', 'GET']}
    )
    assert shared.status_code == 200, shared.text
    grant = shared.json()
    assert '/v2/queues/signed/messages' in grant['paths']
    headers = {
        'Client-ID': HEADERS['Client-ID'],
        'X-Project-ID': grant['project'],
        'URL-Signature': grant['signature'],
        'URL-Expires': grant['expires'],
        'URL-Methods': ','.join(grant['methods']),
        'URL-Paths': ','.join(grant['paths']),
    }
    path = '/v2/queues/signed/messages'
    body = {'messages': [{'body': 'without a token'}]}
    assert ask('POST', path, json=body, headers=headers).status_code == 201
    listed = ask('GET', f'{path}?echo=true', headers=headers)
    assert [m['body'] for m in listed.json()['messages']] == [
        'without a token'
    ]
    other = '/v2/queues/links/messages'
    assert ask('GET', other, headers=headers).status_code == 404


def test_a_post_of_many_messages_is_answered(ask: Ask) -> None:
    document = {'messages': [{'body': 0}] * 1500}
    answer = ask('POST', '/v2/queues/many/messages', json=document)
    assert answer.status_code == 201
    assert len(answer.json()['resources']) == 1500


def test_what_is_large_and_what_is_too_large(ask: Ask) -> None:
    path = '/v2/queues/large/messages'
    for size, status in ((200_000, 201), (300_000, 400)):
        body = {'messages': [{'body': 'x' * size}]}
        assert ask('POST', path, json=body).status_code == status


def test_a_service_that_cannot_start_says_why_and_serves_nothing(
    tmp_path: pathlib.Path,
) -> None:
    conf = tmp_path / 'zaqar.conf'
    conf.write_text('[DEFAULT]\nauth_strategy = nonsense\n')
    behind = Behind(tmp_path, conf, 'uwsgi')
    log = tmp_path / 'uwsgi.log'
    try:
        # It goes on trying: whoever mends the file need not start it again.
        behind.server.wait_until(
            lambda: 'zaqar-queues: [DEFAULT] auth_strategy' in log.read_text()
        )
        assert 'no python application found' not in log.read_text()
    finally:
        behind.stop()
