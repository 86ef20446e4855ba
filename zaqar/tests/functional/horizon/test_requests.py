# SPDX-License-Identifier: Apache-2.0
"""Requests of the panels follow the catalogue, and Horizon's settings."""

from __future__ import annotations

import json
import pathlib
import subprocess

from zaqar.tests.servers import horizon
from zaqar.tests.servers.receivers import Receiver, certificate

NOWHERE = 'https://127.0.0.1:1'


def _endpoint(region: str, interface: str, url: str) -> dict[str, str]:
    return {
        'region': region,
        'region_id': region,
        'interface': interface,
        'url': url,
    }


def test_requests_follow_catalogue_and_settings(
    tmp_path: pathlib.Path,
) -> None:
    service = Receiver(tls=certificate(tmp_path, '127.0.0.1'))
    endpoints = [
        _endpoint('RegionOne', 'public', NOWHERE),
        _endpoint('RegionOne', 'internal', NOWHERE),
        _endpoint('RegionTwo', 'public', f'{service.url}/messaging/v2/'),
        _endpoint('RegionTwo', 'internal', NOWHERE),
    ]
    catalogue = [{'type': 'messaging', 'endpoints': endpoints}]
    cases = (
        {},
        {'OPENSTACK_SSL_CACERT': str(tmp_path / 'ca.pem')},
        {'OPENSTACK_SSL_NO_VERIFY': True},
        {
            'OPENSTACK_SSL_NO_VERIFY': True,
            'OPENSTACK_ENDPOINT_TYPE': 'internalURL',
        },
    )
    command = horizon.program(
        *('purge', str(horizon.PANELS.parent), json.dumps(catalogue)),
        *map(json.dumps, cases),
    )
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200
    )
    refused = 'The service cannot be reached.'
    said = done.stdout.splitlines()[-4:]
    assert said == [refused, 'done', 'done', refused], done.stderr
    assert len(service.got) == 2
    for got in service.got:
        assert got.path == '/messaging/v2/queues/jobs/purge'
        assert got.headers['x-auth-token'] == 'a-token'
        assert got.headers['openstack-api-version'] == 'messaging 2.1'
        assert 'for=192.0.2.7' in got.headers['forwarded']
    service.stop()
