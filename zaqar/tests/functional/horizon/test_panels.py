# SPDX-License-Identifier: Apache-2.0
"""A user and an administrator do everything that the panels offer."""

from __future__ import annotations

import json
import os
import pathlib
import shlex

import requests
from selenium.webdriver.common.by import By

from zaqar.tests.functional.horizon.visitor import Visitor
from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.servers.horizon import Horizon
from zaqar.tests.servers.keystone import Keystone, User
from zaqar.tests.servers.zaqar import Zaqar

HOSTILE = '<img src=x onerror="document.title=1"> {$ 6 * 7 $}'

QUEUES = '/project/queues/'

#: Where the pictures of the guides are made.
PICTURES = pathlib.Path(__file__).parents[4] / 'doc' / 'source' / '_static'


def _picture(visitor: Visitor, name: str, part: str = '#content_body') -> None:
    """Make a picture for the guides, if that is wanted.

    It shows no names of users, which differ from run to run.
    """
    if os.environ.get('ZAQAR_TEST_PICTURES'):
        shown = visitor.sees('', part)
        shown.screenshot(str(PICTURES / f'{name}.png'))


def _person(
    keystone: Keystone, zaqar: Zaqar, *roles: str
) -> tuple[User, Caller]:
    """Return somebody with roles in a project of their own."""
    project = keystone.project()
    user = keystone.user(project, *roles)
    token = keystone.token(user, project)
    return user, Caller(zaqar.url, token, project)


def test_a_member_looks_after_queues(
    visitor: Visitor, keystone: Keystone, zaqar: Zaqar
) -> None:
    user, caller = _person(keystone, zaqar, 'member')
    visitor.log_in(user)
    visitor.visit(QUEUES)
    visitor.sees('No items to display')
    visitor.presses('Create Queue')
    visitor.fills('name', 'jobs')
    visitor.fills('default_message_ttl', 600)
    visitor.fills('further', '{"owner": "billing"}')
    visitor.submits()
    visitor.sees('Queue "jobs" was created', '.alert')
    metadata = caller.ask('GET', '/v2/queues/jobs').json()
    assert metadata['_default_message_ttl'] == 600
    assert metadata['owner'] == 'billing'
    _post(caller, HOSTILE, 'half of \ud83d', {'event': 'x' * 5000}, *range(3))
    caller.ask('POST', '/v2/queues/jobs/claims?limit=1', json={})
    caller.make('stuff')
    _picture_of_list(visitor)
    _change(visitor, caller)
    _share(visitor, caller)
    _look(visitor)
    _subscribe(visitor, caller)
    visitor.visit(QUEUES)
    visitor.acts('jobs', 'Delete Messages')
    visitor.agrees('claimed and delayed')
    visitor.sees('Deleted the messages of queue: jobs', '.alert')
    assert visitor.cells('jobs')[2] == '0'
    visitor.acts('stuff', 'Delete Queue')
    visitor.agrees('cannot be undone')
    visitor.sees('Deleted Queue: stuff', '.alert')
    assert not caller.owns('stuff')


def _post(caller: Caller, *bodies: object) -> None:
    document = {'messages': [{'body': body} for body in bodies]}
    path = '/v2/queues/jobs/messages'
    assert caller.ask('POST', path, json=document).status_code == 201


def _picture_of_list(visitor: Visitor) -> None:
    visitor.visit(QUEUES)
    # A box first; then name, all, free, claimed and delayed.
    assert visitor.cells('jobs')[1:6] == ['jobs', '6', '5', '1', '0']
    _picture(visitor, 'horizon-queues')


def _change(visitor: Visitor, caller: Caller) -> None:
    visitor.acts('jobs', 'Update Metadata')
    visitor.sees('Only changes are sent', '.modal-dialog')
    _picture(visitor, 'horizon-metadata', '.modal-dialog')
    visitor.fills('max_claim_count', 3)
    visitor.fills('default_message_ttl', '')
    # Somebody else changes another key meanwhile.
    patch = [{'op': 'add', 'path': '/metadata/owner', 'value': 'sales'}]
    kind = 'application/openstack-messaging-v2.0-json-patch'
    headers = {'Content-Type': kind}
    data = json.dumps(patch)
    path = '/v2/queues/jobs'
    assert caller.ask('PATCH', path, headers, data=data).status_code == 200
    visitor.submits()
    visitor.sees('Metadata of queue "jobs" were changed', '.alert')
    metadata = caller.ask('GET', path).json()
    assert metadata['_max_claim_count'] == 3
    assert metadata['_default_message_ttl'] != 600
    assert metadata['owner'] == 'sales'


def _share(visitor: Visitor, caller: Caller) -> None:
    visitor.acts('jobs', 'Pre-signed URL')
    visitor.sees('without credentials', '.modal-dialog')
    visitor.submits()
    command = visitor.sees('URL-Signature', '.modal-dialog pre').text
    words = shlex.split(command.replace('\\\n', ''))
    headers = dict(
        words[place + 1].split(': ', 1)
        for place, word in enumerate(words)
        if word == '-H'
    )
    headers['Client-ID'] = caller.client
    url = words[words.index('-X') + 2]
    assert url == f'{caller.origin}/v2/queues/jobs/messages'
    answer = requests.get(url, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text


def _look(visitor: Visitor) -> None:
    visitor.visit(QUEUES)
    visitor.presses('jobs', 'td a')
    visitor.sees('_max_claim_count', 'dt')
    link = visitor.sees('console of the service', 'a')
    assert str(link.get_attribute('href')).endswith('/console#/jobs/messages')
    visitor.presses('Messages', '.nav-tabs a')
    visitor.sees('{$ 6 * 7 $}', 'pre')
    visitor.sees(r'half of \ud83d', 'pre')
    visitor.sees('5017 characters in all', 'td')
    assert not visitor.chrome.find_elements(By.CSS_SELECTOR, 'td img')
    # The same page, without the tab being opened.
    visitor.visit(f'{QUEUES}queue/jobs/?tab=queue__messages')
    visitor.sees('{$ 6 * 7 $}', 'pre')


def _subscribe(visitor: Visitor, caller: Caller) -> None:
    visitor.presses('Subscriptions', '.nav-tabs a')
    visitor.presses('Create Subscription')
    visitor.fills('subscriber', 'gopher://example.com')
    visitor.submits()
    visitor.sees('has refused it', '.alert')
    visitor.fills('subscriber', 'https://example.invalid/hook')
    visitor.fills('ttl', 600)
    visitor.submits()
    visitor.sees('is subscribed to queue "jobs"', '.alert')
    visitor.acts('https://example.invalid/hook', 'Delete Subscription')
    visitor.agrees()
    visitor.sees('Deleted Subscription', '.alert')
    path = '/v2/queues/jobs/subscriptions'
    assert caller.ask('GET', path).json()['subscriptions'] == []


def test_long_lists_have_pages_and_are_searched(
    visitor: Visitor, keystone: Keystone, zaqar: Zaqar
) -> None:
    _user, caller = _person(keystone, zaqar, 'member')
    for number in range(21):
        caller.make(f'queue-{number:02}')
    reader = keystone.user(caller.project, 'reader')
    visitor.log_in(reader)
    visitor.visit(QUEUES)
    visitor.sees('queue-19', 'tbody td')
    body = visitor.chrome.find_element(By.TAG_NAME, 'tbody').text
    assert 'queue-20' not in body
    # A reader is offered no changes.
    page = visitor.chrome.page_source
    assert 'Create Queue' not in page
    assert 'Delete Queue' not in page
    visitor.presses('Next')
    visitor.sees('queue-20', 'tbody td')
    visitor.fills('queues__contains__q', 'e-07')
    visitor.presses('Filter')
    visitor.sees('queue-07', 'tbody td')
    visitor.sees('Displaying 1 item')


def test_an_administrator_looks_after_pools_and_flavors(
    visitor: Visitor, keystone: Keystone, zaqar: Zaqar
) -> None:
    user, caller = _person(keystone, zaqar, 'admin')
    visitor.log_in(user)
    visitor.visit('/admin/message_pools/')
    visitor.presses('Create Pool')
    visitor.fills('name', 'north')
    visitor.fills('uri', 'nonsense://a:secret@b')
    visitor.submits()
    visitor.sees('cannot connect', '.alert')
    visitor.fills('uri', f'sqlite:///{zaqar.folder}/north.sqlite')
    visitor.fills('weight', 70)
    visitor.submits()
    visitor.sees('Pool "north" was created', '.alert')
    visitor.acts('north', 'Update Pool')
    visitor.fills('weight', 30)
    visitor.submits()
    visitor.sees('Pool "north" was changed', '.alert')
    assert visitor.cells('north')[3] == '30'
    visitor.visit('/admin/message_flavors/')
    visitor.presses('Create Flavor')
    visitor.fills('name', 'cold')
    visitor.fills('pool_list', 'north')
    visitor.submits()
    visitor.sees('Flavor "cold" was created', '.alert')
    assert visitor.cells('cold')[2] == 'north'
    visitor.acts('cold', 'Update Flavor')
    visitor.submits()
    visitor.sees('Flavor "cold" was changed', '.alert')
    visitor.acts('cold', 'Delete Flavor')
    visitor.agrees()
    visitor.sees('Deleted Flavor: cold', '.alert')
    visitor.visit('/admin/message_pools/')
    visitor.acts('north', 'Delete Pool')
    visitor.agrees()
    visitor.sees('Deleted Pool: north', '.alert')
    assert caller.ask('GET', '/v2/pools').json()['pools'] == []


def test_an_outage_and_an_ended_token_are_shown(
    visitor: Visitor, keystone: Keystone, zaqar: Zaqar, horizon: Horizon
) -> None:
    user, _caller = _person(keystone, zaqar, 'member')
    visitor.log_in(user)
    zaqar.stop()
    try:
        visitor.visit(QUEUES)
        visitor.sees('Unable to list queues', '.alert')
        visitor.sees('cannot be reached', '.alert')
    finally:
        zaqar.start()
    visitor.visit(QUEUES)
    visitor.sees('No items to display')
    assert 'Traceback' not in horizon.log()
    # The service has not seen the token of this user yet.
    leaver, _caller = _person(keystone, zaqar, 'member')
    visitor.log_in(leaver)
    keystone.system().patch(
        f'{keystone.url}/users/{leaver.id}', json={'user': {'enabled': False}}
    )
    visitor.visit(QUEUES)
    visitor.sees('not authorized to access this page')
