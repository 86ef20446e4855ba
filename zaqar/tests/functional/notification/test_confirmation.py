# SPDX-License-Identifier: Apache-2.0
"""Subscribers are asked first, and answer by HTTP or on the page."""

from __future__ import annotations

import pathlib
import re
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from zaqar.controllers import subscriptions
from zaqar.controllers.result_types import SubscriptionPage
from zaqar.keystone.service_catalog import PublicEndpoints
from zaqar.notification import confirmation_request_content
from zaqar.objects import Scope
from zaqar.tests.functional.notification.conftest import (
    MakeReceiver,
    MakeRig,
)
from zaqar.tests.functional.notification.rig import KEY, PATIENCE, Rig
from zaqar.tests.functional.notification.test_zoo import tls_sender
from zaqar.tests.servers import process
from zaqar.tests.servers.chromium import chromium
from zaqar.tests.servers.receivers import Receiver, answer, certificate
from zaqar.tests.servers.zaqar import Zaqar

SCOPE = Scope('p', 'q')

_REST = f"""
[drivers]
transport = wsgi
[signed_url]
secret_key = {KEY}
[notification]
require_confirmation = True
allowed_networks = 127.0.0.0/8
"""


class Asking:
    """A service that asks subscribers, and a client of it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.server = Zaqar(folder, rest=_REST).start()

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send a request as a member of the project."""
        headers = {'Client-ID': str(uuid.uuid4()), 'X-Project-Id': 'p'}
        headers |= more.pop('headers', {})
        return requests.request(
            method,
            self.server.url + path,
            headers=headers,
            timeout=60,
            **more,
        )

    def subscribe(self, uri: str) -> str:
        """Subscribe; return the path of the subscription."""
        path = '/v2/queues/q/subscriptions'
        answer = self.ask('POST', path, json={'subscriber': uri, 'ttl': 600})
        assert answer.status_code == 201, answer.text
        return f'{path}/{answer.json()["subscription_id"]}'

    def is_confirmed(self, path: str) -> bool:
        """Tell whether a subscriber has said yes."""
        return bool(self.ask('GET', path).json()['confirmed'])

    def reply(
        self, notice: Any, body: Any, **changes: str
    ) -> requests.Response:
        """Do what a receiver of a notice does."""
        headers = {
            name: notice[name]
            for name in (
                'URL-Methods',
                'URL-Paths',
                'X-Project-ID',
                'URL-Expires',
                'URL-Signature',
            )
        }
        headers['Client-ID'] = str(uuid.uuid4())
        headers |= {key.replace('_', '-'): v for key, v in changes.items()}
        return requests.put(
            self.server.url + notice['URL-Paths'],
            json=body,
            headers=headers,
            timeout=60,
        )

    def link(self, notice: Any) -> str:
        """Return the link to the built-in page, as in a mail."""
        url = self.server.url + notice['URL-Paths']
        link = confirmation_request_content.link(
            None, {**notice, 'WSGISubscribeURL': url}
        )
        assert link is not None
        return link


@pytest.fixture(scope='module')
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """A service of its own for this module."""
    service = Asking(tmp_path_factory.mktemp('asking'))
    yield service
    service.server.stop()


def test_a_notice_says_all_that_is_needed_to_answer(
    asking: Asking, receiver: Receiver
) -> None:
    path = asking.subscribe(receiver.url)
    (got,) = receiver.wait(1)
    notice = got.json
    assert set(notice) == {
        'Message_Type',
        'Message',
        'URL-Methods',
        'URL-Paths',
        'X-Project-ID',
        'URL-Expires',
        'URL-Signature',
        'SubscribeBody',
        'UnsubscribeBody',
        'queue_name',
    }
    assert notice['Message_Type'] == 'SubscriptionConfirmation'
    assert notice['URL-Methods'] == 'PUT'
    assert notice['URL-Paths'] == f'{path}/confirm'
    assert notice['X-Project-ID'] == 'p'
    assert notice['queue_name'] == 'q'
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d', notice['URL-Expires']
    )
    assert notice['SubscribeBody'] == {'confirmed': True}
    assert notice['UnsubscribeBody'] == {'confirmed': False}
    assert 'x-auth-token' not in got.headers


def test_only_who_has_said_yes_is_told(
    asking: Asking, receiver: Receiver
) -> None:
    path = asking.subscribe(receiver.url)
    notice = receiver.wait(1)[0].json
    post = {'messages': [{'body': 'early', 'ttl': 300}]}
    asking.ask('POST', '/v2/queues/q/messages', json=post)
    answer = asking.reply(notice, notice['SubscribeBody'])
    assert (answer.status_code, answer.text) == (204, '')
    assert asking.is_confirmed(path)
    post['messages'][0]['body'] = 'late'
    asking.ask('POST', '/v2/queues/q/messages', json=post)
    bodies = [got.json['body'] for got in receiver.wait(2)[1:]]
    # What came before the yes may still have been on its way.
    assert bodies[-1] == 'late' or 'late' in [
        got.json['body'] for got in receiver.wait(3)[1:]
    ]
    answer = asking.reply(notice, notice['UnsubscribeBody'])
    assert answer.status_code == 204
    types = {got.json['Message_Type'] for got in receiver.wait(3)}
    assert 'UnsubscribeConfirmation' in types or receiver.wait(4)
    assert not asking.is_confirmed(path)


@pytest.mark.parametrize(
    'changes',
    [
        {'X_Project_ID': 'another'},
        {'URL_Expires': '2020-01-01T00:00:00'},
        {'URL_Expires': '2999-01-01T00:00:00'},
        {'URL_Signature': '0' * 64},
        {'URL_Methods': 'PUT,DELETE'},
    ],
)
def test_an_answer_that_is_not_what_was_signed_is_refused(
    asking: Asking, receiver: Receiver, changes: dict[str, str]
) -> None:
    path = asking.subscribe(receiver.url)
    notice = receiver.wait(1)[0].json
    answer = asking.reply(notice, {'confirmed': True}, **changes)
    assert answer.status_code == 404
    assert not asking.is_confirmed(path)


def test_the_service_does_not_start_asking_without_a_key(
    tmp_path: pathlib.Path,
) -> None:
    rest = _REST.replace('secret_key', '# secret_key')
    done = Zaqar(tmp_path, rest=rest).run()
    assert done.returncode == 1
    assert '[signed_url] secret_key' in done.stderr
    assert 'Traceback' not in done.stderr


# Without a server.


def test_a_subscriber_is_asked_once_a_minute_at_most(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(confirms=True)
    one = rig.subscribe(receiver.url)
    receiver.wait(1)
    for _ in range(3):
        # It is fine, and the same; no notice is sent for it, now or later.
        assert rig.subscribe(receiver.url) == one
    rig.rests()
    # Not nearly a minute: a busy machine takes its time as well.
    rig.ahead = 30
    assert rig.subscribe(receiver.url) == one
    rig.rests()
    assert len(receiver.got) == 1
    rig.ahead = 61
    assert rig.subscribe(receiver.url) == one
    receiver.wait(2)


def test_a_change_of_the_subscriber_asks_the_new_one(
    make_rig: MakeRig, receiver: Receiver, make_receiver: MakeReceiver
) -> None:
    rig = make_rig(confirms=True)
    one = rig.subscribe(receiver.url)
    receiver.wait(1)
    _confirm(rig, one)
    other = make_receiver()
    rig.rests()
    rig.ahead = 61
    subscriptions.update(
        rig.ctx,
        scope=SCOPE,
        subscription_id=one,
        document={'subscriber': other.url},
    )
    (got,) = other.wait(1)
    assert got.json['Message_Type'] == 'SubscriptionConfirmation'
    assert not _is_confirmed(rig)


def test_the_endpoint_of_the_catalogue_keeps_its_own_path(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    public = PublicEndpoints(
        'https://a.example/messaging/', 'wss://a.example:9000'
    )
    rig = make_rig(confirms=True, public=public)
    one = rig.subscribe(receiver.url)
    notice = receiver.wait(1)[0].json
    path = f'/v2/queues/q/subscriptions/{one}/confirm'
    assert notice['WSGISubscribeURL'] == (f'https://a.example/messaging{path}')
    assert notice['WebSocketSubscribeURL'] == f'wss://a.example:9000{path}'


def test_subscribers_who_do_not_answer_hold_up_no_question_to_others(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(confirms=True)
    dead = f'http://127.0.0.1:{process.free_port()}'
    subscriptions = [rig.subscribe(f'{dead}/{number}') for number in range(30)]
    # As many failures as it takes to be only probed.
    rig.until(
        lambda: (
            sum(rig.deliveries(one)['retried'] for one in subscriptions) >= 20
        )
    )
    rig.subscribe(receiver.url)
    assert receiver.wait(1)[0].json['queue_name'] == 'q'


@pytest.mark.parametrize(
    ('body', 'confirmed'),
    [(b'{"confirmed": true}', True), (b'{"confirmed": 1}', False), (b'', 0)],
)
def test_a_receiver_with_tls_may_say_yes_in_its_answer(
    make_rig: MakeRig,
    make_receiver: MakeReceiver,
    tmp_path: pathlib.Path,
    body: bytes,
    confirmed: bool,
) -> None:
    tls = certificate(tmp_path, 'localhost')
    receiver = make_receiver(answer(200, body), tls=tls)
    rig = make_rig(confirms=True, senders=tls_sender(tmp_path))
    rig.subscribe(f'https://localhost:{receiver.port}/')
    receiver.wait(1)
    rig.rests()
    assert _is_confirmed(rig) == bool(confirmed)


def test_a_receiver_without_tls_may_not(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(answer(200, b'{"confirmed": true}'))
    rig = make_rig(confirms=True)
    rig.subscribe(receiver.url)
    receiver.wait(1)
    rig.rests()
    assert not _is_confirmed(rig)


def _confirm(rig: Rig, one: str) -> None:
    subscriptions.confirm(
        rig.ctx,
        scope=SCOPE,
        subscription_id=one,
        document={'confirmed': True},
    )


def _is_confirmed(rig: Rig) -> bool:
    page: SubscriptionPage = subscriptions.list_(
        rig.ctx, scope=SCOPE, marker=None, limit=None
    )
    return page.subscriptions[0].confirmed


# The page.


@pytest.fixture(scope='module')
def browser() -> Iterator[webdriver.Chrome]:
    """A browser without a screen."""
    with chromium() as chrome:
        yield chrome


def _texts(browser: webdriver.Chrome) -> str:
    return str(browser.find_element(By.TAG_NAME, 'main').text)


def _until_titled(browser: webdriver.Chrome, title: str) -> None:
    # A click does not wait for the page that it leads to.
    wait = WebDriverWait(browser, PATIENCE)
    wait.until(expected_conditions.title_is(title))


def test_a_subscriber_confirms_and_unsubscribes_on_the_page(
    asking: Asking, receiver: Receiver, browser: webdriver.Chrome
) -> None:
    path = asking.subscribe(receiver.url)
    link = asking.link(receiver.wait(1)[0].json)
    browser.get(link)
    assert 'q' in _texts(browser)
    # Whoever only looks has not said anything.
    assert not asking.is_confirmed(path)
    buttons = browser.find_elements(By.TAG_NAME, 'button')
    assert [one.text for one in buttons] == [
        'Confirm the subscription',
        'Unsubscribe',
    ]
    buttons[0].click()
    _until_titled(browser, 'Subscription confirmed')
    assert asking.is_confirmed(path)
    browser.get(link)
    browser.find_elements(By.TAG_NAME, 'button')[1].click()
    _until_titled(browser, 'Unsubscribed')
    assert not asking.is_confirmed(path)


def test_a_link_that_was_changed_leads_to_no_buttons(
    asking: Asking, receiver: Receiver, browser: webdriver.Chrome
) -> None:
    asking.subscribe(receiver.url)
    link = asking.link(receiver.wait(1)[0].json)
    browser.get(link.replace('Project=p', 'Project=<script>'))
    assert browser.title == 'This link is not valid'
    assert browser.find_elements(By.TAG_NAME, 'button') == []


@pytest.mark.parametrize('method', ['PUT', 'DELETE', 'PATCH'])
def test_the_page_takes_no_other_methods(asking: Asking, method: str) -> None:
    answer = asking.ask(method, '/confirm')
    assert answer.status_code == 405
    assert answer.headers['Allow'] == 'GET, HEAD, POST'


def test_the_page_lets_nobody_frame_it_or_add_to_it(
    asking: Asking, receiver: Receiver
) -> None:
    asking.subscribe(receiver.url)
    link = asking.link(receiver.wait(1)[0].json)
    answer = requests.get(link, timeout=60)
    assert answer.status_code == 200
    policy = answer.headers['Content-Security-Policy']
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers['Cache-Control'] == 'no-store'
    assert '<script' not in answer.text


@pytest.mark.parametrize(
    'form', [{}, {'confirmed': 'true'}, {'confirmed': 'perhaps'}]
)
def test_a_form_without_a_signature_changes_nothing(
    asking: Asking, receiver: Receiver, form: dict[str, str]
) -> None:
    path = asking.subscribe(receiver.url)
    link = asking.link(receiver.wait(1)[0].json)
    values = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link).query))
    values['Signature'] = 'f' * 64
    answer = requests.post(
        f'{asking.server.url}/confirm', data={**values, **form}, timeout=60
    )
    assert answer.status_code == 404
    assert not asking.is_confirmed(path)
