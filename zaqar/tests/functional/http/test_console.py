# SPDX-License-Identifier: Apache-2.0
"""The console: its files, and somebody who uses it in a browser."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar
from zaqar.transport.wsgi import console_page

PROJECT = 'p'
HOSTILE = '<img src=x onerror="document.title=1">'

#: Bytes of all files together, at most.
MOST = 150 * 1024

#: Seconds for which something may take to appear.
PATIENCE = 60


class User:
    """Somebody before the page."""

    def __init__(self, chrome: webdriver.Chrome, url: str) -> None:
        self.chrome = chrome
        self._url = url

    def sees(self, text: str, selector: str = 'body') -> None:
        """Wait until a part of the page shows a text."""
        script = (
            'return [...document.querySelectorAll(arguments[0])]'
            '.some((one) => one.textContent.includes(arguments[1]))'
        )
        wait = WebDriverWait(self.chrome, PATIENCE, poll_frequency=0.1)
        wait.until(
            lambda chrome: chrome.execute_script(script, selector, text),
            f'{text!r} in {selector}',
        )

    def visit(self, view: str) -> None:
        """Go to a view of the queue."""
        self.visit_unread('jobs', view)
        wait = WebDriverWait(self.chrome, PATIENCE, poll_frequency=0.1)
        wait.until(
            lambda chrome: chrome.execute_script(
                'const part = document.getElementById(arguments[0]);'
                "return part && part.textContent !== 'Reading …'",
                view,
            )
        )

    def visit_unread(self, queue: str, view: str) -> None:
        """Go to a view that may not come."""
        self.chrome.get(f'{self._url}#/{queue}/{view}')

    def meets(self, answer: str) -> None:
        """Have the page get this answer once, a promise in JavaScript."""
        self.chrome.execute_script(
            'const real = window.fetch;'
            'window.fetch = () => { window.fetch = real; '
            f'return {answer}; }};'
        )

    def presses(self, text: str, *, agrees: str = '') -> None:
        """Press a button by its text, and perhaps agree to what it says."""
        self.chrome.execute_script(
            '[...document.querySelectorAll("main button")]'
            '.find((one) => one.textContent === arguments[0]).click()',
            text,
        )
        if agrees:
            self.agrees(agrees)

    def agrees(self, text: str) -> None:
        """Agree to a dialog that says this."""
        self.sees(text, 'dialog')
        self.chrome.find_element(By.ID, 'yes').click()

    def fills(self, label: str, text: str) -> None:
        """Fill a field by the beginning of its label."""
        self.chrome.execute_script(
            'document.querySelectorAll("details").forEach('
            '(one) => { one.open = true; });'
            'const label = [...document.querySelectorAll("label")].find('
            '(one) => one.textContent.startsWith(arguments[0]));'
            'label.querySelector("input, textarea").value = arguments[1];',
            label,
            text,
        )


@pytest.fixture
def user(tmp_path: pathlib.Path) -> Iterator[tuple[User, Zaqar]]:
    """Somebody in front of the console of a service without Keystone."""
    program = shutil.which('chromium')
    driver = shutil.which('chromedriver')
    if program is None or driver is None:
        process.missing('chromium with chromium-driver')
    rest = (
        '[drivers]\ntransport = wsgi\n'
        '[signed_url]\nsecret_key = 0123456789abcdef0123456789abcdef\n'
    )
    server = Zaqar(tmp_path, rest=rest).start()
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ('--headless=new', '--no-sandbox', '--disable-gpu'):
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    os.environ.setdefault('no_proxy', '127.0.0.1')
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield User(chrome, f'{server.url}/console'), server
    chrome.quit()
    server.stop()


def _ask(server: Zaqar, method: str, path: str, **more: Any) -> Any:
    answer = requests.request(
        method,
        f'{server.url}/v2/queues{path}',
        headers={
            'Client-ID': str(uuid.uuid4()),
            'X-Project-ID': PROJECT,
            'OpenStack-API-Version': 'messaging 2.1',
        },
        timeout=30,
        **more,
    )
    assert answer.ok, answer.text
    return answer.json() if answer.content else None


def _dead_letter(server: Zaqar) -> None:
    """Let a message of "jobs" become a dead letter in "graves"."""
    fields = {'_max_claim_count': 1, '_dead_letter_queue': 'graves'}
    _ask(server, 'PUT', '/jobs', json=fields)
    message = {'body': {'dead': 'letter'}, 'ttl': 600}
    _ask(server, 'POST', '/jobs/messages', json={'messages': [message]})
    claim = _ask(server, 'POST', '/jobs/claims', json={})
    name = claim['messages'][0]['href'].partition('claim_id=')[2]
    _ask(server, 'DELETE', f'/jobs/claims/{name}')
    _ask(server, 'POST', '/jobs/claims', json={})


@pytest.mark.proves('console')
def test_an_owner_does_everything_once(user: tuple[User, Zaqar]) -> None:
    owner, server = user
    _dead_letter(server)
    chrome = owner.chrome
    chrome.set_window_size(390, 800)
    chrome.get(f'{server.url}/console')
    owner.sees('Project', 'dialog')
    # By the keyboard alone.
    chrome.switch_to.active_element.send_keys(PROJECT, Keys.ENTER)
    owner.sees('jobs', '#queues td')
    owner.sees('graves', '#queues td')
    owner.presses('Depth')
    owner.sees('graves', '#queues tbody tr:first-child')
    _ask(
        server,
        'POST',
        '/jobs/subscriptions',
        json={'subscriber': 'https://example.invalid/hook', 'ttl': 600},
    )
    chrome.get(f'{server.url}/console#/jobs/messages')
    owner.sees('Post a message')
    owner.fills('Body', json.dumps(HOSTILE))
    owner.presses('Post', agrees='Post one message to queue "jobs"')
    owner.sees('<img src=x', 'article pre')
    assert not chrome.find_elements(By.CSS_SELECTOR, 'article img')
    owner.presses('Explain')
    owner.sees('State: free', '.why')
    owner.visit('subscriptions')
    owner.sees('https://example.invalid/hook', 'article h3')
    owner.presses('Deliveries')
    owner.sees('failure', '.failure')
    owner.visit('metadata')
    owner.fills('Lifetime of messages', '120')
    owner.presses('Save', agrees='set _default_message_ttl to 120')
    owner.sees('The metadata were changed')
    assert _ask(server, 'GET', '/jobs')['_default_message_ttl'] == 120
    owner.visit('share')
    owner.presses('Make a pre-signed URL', agrees='GET the messages')
    owner.sees('URL-Signature: ', '#commands pre')
    owner.visit('tail')
    message = {'body': 'for the tail', 'ttl': 600}
    _ask(server, 'POST', '/jobs/messages', json={'messages': [message]})
    owner.sees('for the tail', '#tail pre')
    owner.visit('messages')
    owner.presses('Purge the queue', agrees='Delete all messages')
    owner.sees('was purged', '#done')
    chrome.get(f'{server.url}/console#/graves/dead')
    owner.sees('Dead letter of "jobs"', '.letter')
    owner.presses('Dry run')
    owner.sees('Would move 1 of 1', '#dry')
    owner.presses('Redrive', agrees='where they came from')
    owner.sees('was started', '#done')
    assert chrome.title == 'graves: Dead letters'
    # Somebody else answers once, then nobody does once.
    owner.meets("Promise.resolve(new Response('{}', {status: 401}))")
    owner.visit_unread('jobs', 'messages')
    owner.sees('has expired', 'dialog')
    chrome.switch_to.active_element.send_keys(Keys.ENTER)
    owner.sees('Post a message')
    message = {'body': 'x' * 100_000, 'ttl': 600}
    _ask(server, 'POST', '/jobs/messages', json={'messages': [message]})
    owner.meets("Promise.reject(new TypeError('gone'))")
    owner.visit_unread('jobs', 'metadata')
    owner.sees('cannot be reached', '#trouble')
    owner.sees('Lifetime of messages', 'form')
    owner.visit('messages')
    shown = chrome.execute_script(
        'return Math.max(...[...document.querySelectorAll("article pre")]'
        '.map((one) => one.textContent.length))'
    )
    assert shown == 64 * 1024
    owner.sees('100002 characters in all', '.hint')
    said = [one['message'] for one in chrome.get_log('browser')]
    assert [one for one in said if 'Security Policy' in one] == []


@pytest.mark.proves('console')
def test_files_are_light_and_strictly_served(api: Api) -> None:
    page = api('GET', '/console')
    assert page.status == 200
    policy = page.headers['content-security-policy']
    assert "default-src 'none'" in policy
    assert 'unsafe' not in policy
    assert b'<script>' not in page.body
    tag = {'If-None-Match': page.headers['etag']}
    assert api('GET', '/console', headers=tag).status == 304
    assert api('HEAD', '/console').headers['etag'] == page.headers['etag']
    assert api('POST', '/console').status == 405
    folder = pathlib.Path(console_page.__file__).parent / 'console'
    files = [*folder.iterdir()]
    assert sum(one.stat().st_size for one in files) < MOST
    for one in files:
        if one.suffix == '.js':
            assert api('GET', f'/console/{one.name}').body == one.read_bytes()
            assert 'innerHTML' not in one.read_text()
    assert api('GET', '/console/settings.json').json == {
        'keystone': False,
        'identity_url': None,
    }


def test_it_can_be_turned_off(make_api: MakeApi) -> None:
    api = make_api('[console]\nenabled = False\n')
    assert api('GET', '/console').status == 404
