# SPDX-License-Identifier: Apache-2.0
"""The password of a store is in no complaint and no log line.

What each client library makes of a URI with a reserved character in its
password, and repeats when it fails, only the libraries know.
"""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage import configured_drivers_and_options, store_opener


@pytest.mark.parametrize('character', ['', *'@:/?&='])
@pytest.mark.parametrize(
    'uri',
    [
        'redis://u:{}@127.0.0.1:1/0',
        'redis+cluster://u:{}@127.0.0.1:1',
        'redis://127.0.0.1:1/0?sentinel_password={}&master=m&n=1',
        'mongodb://u:{}@127.0.0.1:1/',
        'mongodb://u:{}@127.0.0.1:1/?replicaSet',
        'mongodb://127.0.0.1/?tls=true&tlsCertificateKeyFilePassword={}&n=1',
        'postgresql://u:{}@127.0.0.1:1/d',
        'postgresql://u@127.0.0.1:1/d?sslpassword={}&n=1',
        'mysql://u:{}@127.0.0.1:1/d',
        'mysql://u@127.0.0.1:1/d?passwd={}',
        'swift://u:{}@/p',
        'swift://u:{}@host/p',
        'none://u:{}@host/p',
        'redis:u:{}@host/p',
    ],
)
def test_no_complaint_and_no_log_line_shows_a_password(
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
    uri: str,
    character: str,
) -> None:
    full = uri.replace('{}', f'hidd{character}secrt')
    conf = cfg.ConfigOpts()
    conf(['--config-dir', str(tmp_path)], project='zaqar')
    configured_drivers_and_options.register_opts(conf)
    text = ''
    try:
        store_opener.PoolOpener(conf).open(full, {}).close()
    except (ConfigurationError, StoreUnavailable) as error:
        text = str(error)
    for written in (text, caplog.text):
        assert 'hidd' not in written
        assert 'secrt' not in written
