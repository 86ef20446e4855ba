# SPDX-License-Identifier: Apache-2.0
"""The sample page in a browser shows every message of a queue once."""

from __future__ import annotations

import itertools
import json
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import websocket

from zaqar.tests.contract.proxy import Proxy
from zaqar.tests.functional.websocket.client import CLIENT
from zaqar.tests.functional.websocket.conftest import SIGNED, MakeServer
from zaqar.tests.servers import process
from zaqar.tests.servers.nginx import Nginx
from zaqar.tests.servers.zaqar import Zaqar

PROJECT = 'demo'

#: What the page shows while it follows a queue.
BY_SOCKET = 'following by WebSocket'
BY_EVENTS = 'following by Server-Sent Events'

#: Opens the page, which follows a queue of a server at an address.
Browse = Callable[[Zaqar, str], 'Browser']

_PAGE = pathlib.Path(__file__).parents[4] / 'examples/websocket/index.html'


class Browser:
    """Chromium without a window, asked by its own protocol."""

    def __init__(self, program: str, folder: pathlib.Path, page: str) -> None:
        self._folder = folder
        self._count = itertools.count(1)
        self.process = process.Process(
            [
                program,
                '--headless=new',
                '--no-sandbox',
                '--disable-gpu',
                '--disable-dev-shm-usage',
                '--no-first-run',
                '--disable-background-networking',
                '--remote-debugging-port=0',
                '--remote-allow-origins=*',
                f'--user-data-dir={folder}',
                page,
            ],
            folder / 'log',
            env={'HOME': str(folder)},
        )
        self._port_file = folder / 'DevToolsActivePort'
        self.process.wait_until(self._port_file.exists)
        self._socket = websocket.create_connection(self._target(), timeout=30)

    def _target(self) -> str:
        end = time.monotonic() + process.PATIENCE
        while time.monotonic() < end:
            lines = self._port_file.read_text().split()
            if lines:
                url = f'http://127.0.0.1:{lines[0]}/json'
                for target in requests.get(url, timeout=30).json():
                    if target['type'] == 'page':
                        return str(target['webSocketDebuggerUrl'])
            time.sleep(0.05)
        raise RuntimeError('the browser shows no page')

    def texts(self, selector: str) -> list[str]:
        """Return the texts of those parts of the page."""
        parts = f'[...document.querySelectorAll({selector!r})]'
        return list(self.evaluate(f'{parts}.map(part => part.textContent)'))

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        number = next(self._count)
        call = {
            'id': number,
            'method': 'Runtime.evaluate',
            'params': {'expression': expression, 'returnByValue': True},
        }
        self._socket.send(json.dumps(call))
        while True:
            reply: Any = json.loads(self._socket.recv())
            if reply.get('id') == number:
                return reply['result']['result']['value']

    def shows(self, selector: str, *texts: str) -> bool:
        """Tell whether parts come to show these texts and no others."""
        end = time.monotonic() + process.PATIENCE
        while time.monotonic() < end:
            if self.texts(selector) == list(texts):
                return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        """End it."""
        self._socket.close()
        self.process.stop()


@pytest.fixture
def page() -> Iterator[str]:
    """The page on a server of the same host, as its README says."""
    port = process.free_port()
    where = ('--bind', '127.0.0.1', '--directory', str(_PAGE.parent))
    command = [sys.executable, '-m', 'http.server', str(port), *where]
    with tempfile.TemporaryDirectory() as folder:
        pages = process.Process(command, pathlib.Path(folder) / 'log')
        pages.wait_until(lambda: process.accepts(port))
        yield f'http://127.0.0.1:{port}/{_PAGE.name}'
        pages.stop()


@pytest.fixture
def served(make_server: MakeServer, page: str) -> Zaqar:
    """A server that the page may send HTTP requests to."""
    origin = page.rpartition('/')[0]
    return make_server(rest=f'{SIGNED}[cors]\nallowed_origin = {origin}\n')


@pytest.fixture
def browse(page: str, tmp_path: pathlib.Path) -> Iterator[Browse]:
    """A function that opens the page; the browsers end with the test."""
    program = shutil.which('chromium')
    if program is None:
        process.missing('chromium is not installed')
    browsers: list[Browser] = []

    def opened(server: Zaqar, url: str) -> Browser:
        fields = {'api': server.url, 'project': PROJECT, 'queue': 'news'}
        query = urlencode({'url': url, **fields})
        folder = tmp_path / f'browser-{len(browsers)}'
        folder.mkdir()
        browsers.append(Browser(program, folder, f'{page}?{query}'))
        return browsers[-1]

    yield opened
    for browser in browsers:
        browser.stop()


@pytest.fixture
def plain_proxy(served: Zaqar, tmp_path: pathlib.Path) -> Iterator[Nginx]:
    """A proxy that is set up for HTTP alone: it passes no upgrade on."""
    target = served.socket_url.replace('ws:', 'http:')
    server = f'location / {{ proxy_pass {target}; }}'
    nginx = Nginx(tmp_path / 'nginx', server)
    yield nginx
    nginx.stop()


def post(server: Zaqar, *bodies: Any, queue: str = 'news') -> None:
    """Post messages over HTTP."""
    answer = requests.post(
        f'{server.url}/v2/queues/{queue}/messages',
        json={'messages': [{'body': body} for body in bodies]},
        headers={'Client-ID': CLIENT, 'X-Project-ID': PROJECT},
        timeout=30,
    )
    assert answer.status_code == 201


def test_a_page_shows_what_is_posted_over_http(
    browse: Browse, served: Zaqar
) -> None:
    post(served, 'first')
    browser = browse(served, served.socket_url)
    assert browser.shows('#state', BY_SOCKET)
    post(served, {'said': 'hello, wörld'})
    assert browser.shows('#messages li', '"first"', '{"said":"hello, wörld"}')


def test_another_queue_is_followed_from_its_beginning(
    browse: Browse, served: Zaqar
) -> None:
    post(served, 1, queue='other')
    post(served, 2)
    target = ('127.0.0.1', int(served.socket_url.rpartition(':')[2]))
    with Proxy(target) as wire:
        browser = browse(served, f'ws://127.0.0.1:{wire.port}')
        assert browser.shows('#messages li', '2')
        browser.evaluate('document.forms[0].queue.value = "other"')
        wire.cut()
        wire.restore()
        assert browser.shows('#messages li', '2', '1')


def test_where_no_websocket_passes_events_are_followed(
    browse: Browse, served: Zaqar, plain_proxy: Nginx
) -> None:
    post(served, 1, 2)
    with Proxy(('127.0.0.1', plain_proxy.port)) as wire:
        browser = browse(served, f'ws://127.0.0.1:{wire.port}')
        assert browser.shows('#messages li', '1', '2')
        assert browser.shows('#state', BY_EVENTS)
        post(served, 3)
        assert browser.shows('#messages li', '1', '2', '3')
        # The browser goes on by itself.
        wire.cut()
        post(served, 4, 5)
        wire.restore()
        post(served, 6)
        assert browser.shows('#messages li', *'123456')


def test_nothing_is_lost_or_repeated_when_the_way_changes(
    browse: Browse, served: Zaqar, plain_proxy: Nginx
) -> None:
    direct = ('127.0.0.1', served.socket_port)
    post(served, 1)
    with Proxy(direct) as wire:
        browser = browse(served, f'ws://127.0.0.1:{wire.port}')
        assert browser.shows('#state', BY_SOCKET)
        post(served, 2)
        assert browser.shows('#messages li', '1', '2')
        wire.cut()
        post(served, 3)
        wire.lead_to(('127.0.0.1', plain_proxy.port))
        wire.restore()
        assert browser.shows('#state', BY_EVENTS)
        post(served, 4)
        assert browser.shows('#messages li', *'1234')
        # The other server refuses streams, so the page begins anew.
        wire.cut()
        wire.lead_to(('127.0.0.1', served.port))
        wire.restore()
        assert browser.shows('#state', 'closed; trying again')
        post(served, 5)
        wire.lead_to(direct)
        assert browser.shows('#state', BY_SOCKET)
        post(served, 6)
        assert browser.shows('#messages li', *'123456')
