# SPDX-License-Identifier: Apache-2.0
"""The sample page in a browser shows what is posted over HTTP."""

from __future__ import annotations

import itertools
import json
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import websocket

from zaqar.tests.functional.websocket.client import CLIENT
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

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

    def text(self, selector: str) -> str:
        """Return the text of a part of the page."""
        number = next(self._count)
        expression = f'document.querySelector({selector!r}).textContent'
        call = {
            'id': number,
            'method': 'Runtime.evaluate',
            'params': {'expression': expression},
        }
        self._socket.send(json.dumps(call))
        while True:
            reply: Any = json.loads(self._socket.recv())
            if reply.get('id') == number:
                return str(reply['result']['result'].get('value'))

    def shows(self, selector: str, text: str) -> bool:
        """Tell whether a part comes to show a text."""
        end = time.monotonic() + process.PATIENCE
        while time.monotonic() < end:
            if self.text(selector) == text:
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
def browser(
    server: Zaqar, project: str, tmp_path: pathlib.Path, page: str
) -> Iterator[Browser]:
    program = shutil.which('chromium')
    if program is None:
        process.missing('chromium is not installed')
    query = urlencode(
        {'url': server.socket_url, 'project': project, 'queue': 'news'}
    )
    folder = tmp_path / 'browser'
    folder.mkdir()
    started = Browser(program, folder, f'{page}?{query}')
    yield started
    started.stop()


def test_a_page_shows_what_is_posted_over_http(
    browser: Browser, server: Zaqar, project: str
) -> None:
    assert browser.shows('#state', 'subscribed')
    answer = requests.post(
        f'{server.url}/v2/queues/news/messages',
        json={'messages': [{'body': {'said': 'hello, wörld'}}]},
        headers={'Client-ID': CLIENT, 'X-Project-ID': project},
        timeout=30,
    )
    assert answer.status_code == 201
    assert browser.shows('#messages', '{"said":"hello, wörld"}')
