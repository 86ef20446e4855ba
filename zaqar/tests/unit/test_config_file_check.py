# SPDX-License-Identifier: Apache-2.0
"""What is said of configuration files."""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from zaqar import config_file_check
from zaqar.errors import ConfigurationError


def _remarks(folder: pathlib.Path, text: str) -> list[str]:
    path = folder / 'zaqar.conf'
    path.write_text(text)
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(path)])
    return list(config_file_check.remarks(conf))


@pytest.mark.parametrize(
    ('text', 'remark'),
    [
        (
            '[drivers]\nstorage = sqlalchemy',
            '[drivers] storage is deprecated; it is [drivers] message_store '
            'now',
        ),
        (
            '[DEFAULT]\nsharding = True',
            '[DEFAULT] sharding is deprecated; it is [DEFAULT] pooling now',
        ),
        (
            '[transport]\nmax-queue-metadata = 1',
            '[transport] max-queue-metadata is ignored because of its '
            'hyphen; write max_queue_metadata',
        ),
        (
            '[keystone_authtoken]\nauth-url = http://x',
            '[keystone_authtoken] auth-url is ignored because of its hyphen; '
            'write auth_url',
        ),
        (
            '[transport]\nmax_massage_ttl = 1',
            '[transport] max_massage_ttl is not known and ignored',
        ),
        ('[transprot]\nx = 1', '[transprot] is not known and ignored'),
    ],
)
def test_what_does_nothing_or_not_for_long_is_named(
    tmp_path: pathlib.Path, text: str, remark: str
) -> None:
    assert _remarks(tmp_path, text) == [remark]


def test_what_is_in_force_is_not_remarked_on(tmp_path: pathlib.Path) -> None:
    text = """
[DEFAULT]
debug = True
auth_strategy = keystone
admin_mode = True
[drivers]
transport = wsgi
[drivers:transport:wsgi]
port = 8888
[drivers:management_store:sqlalchemy]
uri = sqlite:////x
[keystone_authtoken]
auth_type = password
username = zaqar
[oslo_policy]
policy_file = x
[oslo_messaging_rabbit]
heartbeat_rate = 1
[CORS]
allowed_origin = https://example.org
"""
    assert _remarks(tmp_path, text) == []


def test_values_are_never_shown(tmp_path: pathlib.Path) -> None:
    text = '[drivers:message_store:sqlalchemy]\nurl = mysql://u:secret@h/z'
    (remark,) = _remarks(tmp_path, text)
    assert 'secret' not in remark


def test_files_of_folders_are_read_too(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'b.conf').write_text('[gc]\nb = 1')
    (tmp_path / 'a.conf').write_text('[gc]\na = 1')
    conf = cfg.ConfigOpts()
    conf(['--config-dir', str(tmp_path)])
    assert list(config_file_check.remarks(conf)) == [
        '[gc] a is not known and ignored',
        '[gc] b is not known and ignored',
    ]


def test_a_file_that_is_gone_is_told(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'zaqar.conf'
    path.write_text('')
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(path)])
    path.unlink()
    with pytest.raises(ConfigurationError, match=r'zaqar\.conf'):
        config_file_check.remarks(conf)


def _checked(folder: pathlib.Path, text: str) -> cfg.ConfigOpts:
    path = folder / 'zaqar.conf'
    path.write_text(text)
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(path)])
    config_file_check.check(conf)
    return conf


def test_an_option_may_refer_to_one_of_any_group(
    tmp_path: pathlib.Path,
) -> None:
    conf = _checked(
        tmp_path,
        f'[DEFAULT]\nstate_path = {tmp_path}\n'
        '[drivers:management_store:sqlalchemy]\n'
        'uri = sqlite:///$state_path/a.sqlite\n'
        '[pooling:catalog]\nsqlite_path = $state_path/pools\n'
        '[drivers:transport:websocket]\n'
        'http_prefix = ${drivers:transport:wsgi.bind}\n',
    )
    group = conf['drivers:management_store:sqlalchemy']
    assert group.uri == f'sqlite:///{tmp_path}/a.sqlite'
    assert conf['pooling:catalog'].sqlite_path == f'{tmp_path}/pools'


def test_a_value_that_cannot_be_read_is_named_with_its_group(
    tmp_path: pathlib.Path,
) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r'\[drivers:transport:websocket\] port: .*abc',
    ):
        _checked(tmp_path, '[drivers:transport:websocket]\nport = abc\n')
