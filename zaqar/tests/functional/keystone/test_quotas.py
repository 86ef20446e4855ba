# SPDX-License-Identifier: Apache-2.0
"""Limits of projects that Keystone keeps."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from zaqar.api.microversion_negotiation import HEADER, MAX
from zaqar.tests.functional.keystone.callers import join
from zaqar.tests.functional.keystone.conftest import configuration, serve
from zaqar.tests.servers import keystone_limits
from zaqar.tests.servers.keystone import DOMAIN, Keystone

pytest.importorskip('oslo_limit')

_CONF = """
[quotas]
use_unified_limits = true
queues = 2
[oslo_limit]
auth_url = {url}
auth_type = password
username = {user.name}
password = {user.password}
user_domain_id = {domain}
system_scope = all
valid_interfaces = public
endpoint_id = {endpoint}
"""


@pytest.fixture
def unified(
    keystone: Keystone, tmp_path: pathlib.Path
) -> Iterator[tuple[str, str]]:
    """A configuration with limits in Keystone, and the id of the service."""
    with (
        keystone.published('identity', keystone.url),
        keystone_limits.limited(keystone, 'messaging') as (service, endpoint),
    ):
        text = configuration(keystone) + _CONF.format(
            url=keystone.url,
            user=keystone_limits.system_user(keystone),
            domain=DOMAIN,
            endpoint=endpoint,
        )
        yield text, service


def _sync(text: str, folder: pathlib.Path, *more: str) -> list[str]:
    path = folder / 'sync.conf'
    path.write_text(text)
    command = ['limits', 'sync', *more]
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'zaqar.cmd.manage_keystone_limits'),
            *('--config-file', str(path), *command),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_limits_are_those_of_keystone(
    keystone: Keystone, unified: tuple[str, str], tmp_path: pathlib.Path
) -> None:
    text, service = unified
    folder = tmp_path / 'server'
    folder.mkdir()

    first = _sync(text, tmp_path)
    assert 'queues: registered with the default 2' in first
    assert 'topics: registered with the default -1' in first
    assert 'queues: has the default 2' in _sync(text, tmp_path)
    other = text.replace('queues = 2', 'queues = 1')
    (kept,) = [one for one in _sync(other, tmp_path) if 'queues' in one[:6]]
    assert kept.startswith('queues: has the default 2, which stays')
    changed = _sync(other, tmp_path, '--update')
    assert 'queues: changed from 2 to 1' in changed

    project = keystone.project()
    keystone_limits.limit(keystone, service, project, 'queues', 3)
    with serve(text, folder) as origin:
        rich = join(keystone, origin, project, 'member')
        poor = join(keystone, origin, keystone.project(), 'member')
        statuses = [rich.make(f'q{n}').status_code for n in range(4)]
        assert statuses == [201, 201, 201, 403]
        statuses = [poor.make(f'q{n}').status_code for n in range(2)]
        assert statuses == [201, 403]
        newest = {HEADER: MAX.header}
        shown = rich.ask('GET', '/v2/quotas', newest).json()['quotas']
        assert shown['queues'] == {'limit': 3, 'usage': 3}
        with keystone.down():
            # Both are known, and so are their tokens.
            assert rich.make('q4').status_code == 403
            assert poor.make('q0').status_code == 204
