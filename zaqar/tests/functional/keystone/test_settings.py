# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the settings for Keystone is said in one line."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from zaqar.tests.functional.keystone.callers import Caller, join
from zaqar.tests.functional.keystone.conftest import configuration, serve
from zaqar.tests.servers.keystone import Keystone


def _changed(keystone: Keystone, **options: str) -> str:
    lines = configuration(keystone).splitlines()
    unchanged = [line for line in lines if line.split(' =')[0] not in options]
    return '\n'.join([*unchanged, *(f'{k} = {v}' for k, v in options.items())])


def _ping(caller: Caller) -> Any:
    return caller.ask('GET', '/v2/ping')


@pytest.fixture
def refused(keystone: Keystone, tmp_path: pathlib.Path) -> Any:
    """Ask a service whose own password is wrong; return answer and log."""
    text = _changed(keystone, password='wrong')
    with serve(text, tmp_path) as origin:
        caller = join(keystone, origin, keystone.project(), 'member')
        # The first one also says how tokens are cached.
        _ping(caller)
        answer = _ping(caller)
    # All is written at the end of the service at the latest.
    return answer, (tmp_path / 'log').read_text()


def test_a_wrong_service_password_is_a_503_of_ours_and_one_log_line(
    refused: Any,
) -> None:
    answer, written = refused
    assert answer.status_code == 503
    assert answer.headers['Content-Type'].startswith('application/json')
    assert answer.json()['title'] == 'Service temporarily unavailable'
    assert answer.headers['Retry-After']
    assert 'Traceback' not in written
    request_id = answer.headers['X-Openstack-Request-Id']
    lines = [line for line in written.splitlines() if request_id in line]
    assert len(lines) == 1, written
    assert 'Keystone refuses the credentials of this service' in lines[0]
    assert '[keystone_authtoken]' in lines[0]


def test_an_unreachable_keystone_is_a_503_of_ours(
    keystone: Keystone, tmp_path: pathlib.Path
) -> None:
    with serve(configuration(keystone), tmp_path) as origin:
        caller = join(keystone, origin, keystone.project(), 'member')
        with keystone.down():
            answer = _ping(caller)
    assert answer.status_code == 503
    assert answer.json()['title'] == 'Service temporarily unavailable'
