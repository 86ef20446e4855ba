# SPDX-License-Identifier: Apache-2.0
"""The files of the console, as they are served."""

from __future__ import annotations

import pathlib

import pytest

from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import MakeApi
from zaqar.transport.wsgi import console_page

#: Bytes of all files together, at most.
MOST = 150 * 1024


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
        'websocket_url': None,
        'confirms': False,
        'confirms_mail': True,
        'limits': {
            'max_claim_ttl': 43200,
            'max_message_delay': 900,
            'max_message_ttl': 1209600,
            'max_messages_per_page': 20,
            'max_messages_post_size': 262144,
            'max_queues_per_page': 20,
            'max_subscriptions_per_page': 20,
            'max_wait': 60,
        },
    }


@pytest.mark.proves('console')
def test_only_addresses_of_the_operator_may_be_reached(
    make_api: MakeApi,
) -> None:
    api = make_api(
        '[console]\nidentity_url = https://keystone.example.org/v3\n'
        'websocket_url = wss://queues.example.org:9000/socket\n'
    )
    policy = api('GET', '/console').headers['content-security-policy']
    assert (
        "connect-src 'self' https://keystone.example.org "
        'wss://queues.example.org:9000;' in policy
    )


def test_it_can_be_turned_off(make_api: MakeApi) -> None:
    api = make_api('[console]\nenabled = False\n')
    assert api('GET', '/console').status == 404
