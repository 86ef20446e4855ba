# SPDX-License-Identifier: Apache-2.0
"""Whether a group may have values, before its options are known."""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from zaqar import config_loading


def _loaded(folder: pathlib.Path, text: str) -> cfg.ConfigOpts:
    file = folder / 'zaqar.conf'
    file.write_text(text)
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(file)], project='zaqar')
    return conf


@pytest.mark.parametrize(
    ('text', 'may'),
    [
        ('', False),
        ('[trustees]\na = 1\n', False),
        ('[trustee]\n', True),
        ('[Trustee]\nauth_type = password\n', True),
        ('[DEFAULT]\n[trustee]\nauth_section = other\n', True),
    ],
)
def test_a_group_of_a_file_may_have_values(
    tmp_path: pathlib.Path, text: str, may: bool
) -> None:
    conf = _loaded(tmp_path, text)
    assert config_loading.may_have(conf, 'trustee') == may


def test_the_environment_may_have_values(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = _loaded(tmp_path, '')
    monkeypatch.setenv('OS_TRUSTEE__AUTH_TYPE', 'password')
    assert config_loading.may_have(conf, 'trustee')
    assert not config_loading.may_have(conf, 'keystone_authtoken')
