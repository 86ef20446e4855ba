# SPDX-License-Identifier: Apache-2.0
"""From a configuration to open stores."""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from zaqar import config_file_check, state_path
from zaqar.errors import ConfigurationError
from zaqar.storage import (
    configured_drivers_and_options,
    installed_drivers,
    store_opener,
)


def _conf(folder: pathlib.Path, text: str = '') -> cfg.ConfigOpts:
    file = folder / 'zaqar.conf'
    file.write_text(text)
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(file)], project='zaqar')
    configured_drivers_and_options.register_opts(conf)
    return conf


def _open(conf: cfg.ConfigOpts) -> None:
    stores = store_opener.open_stores(conf)
    stores.messages.close()
    stores.management.close()


def test_nothing_set_is_a_file_in_the_state_path(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_path, 'SYSTEM', str(tmp_path / 'nothing'))
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'deeper' / 'xdg'))
    state = tmp_path / 'deeper' / 'xdg' / 'zaqar'
    _open(_conf(tmp_path))
    assert (state / 'zaqar.sqlite').is_file()
    # What is in there is nobody else's business.
    assert state.stat().st_mode & 0o077 == 0


def test_a_state_path_that_is_set_has_to_exist(
    tmp_path: pathlib.Path,
) -> None:
    conf = _conf(tmp_path, f'[DEFAULT]\nstate_path = {tmp_path}/typo')
    with pytest.raises(ConfigurationError, match='typo does not exist'):
        store_opener.open_stores(conf)
    assert not (tmp_path / 'typo').exists()


@pytest.mark.parametrize('plane', ['message_store', 'management_store'])
def test_the_uri_of_one_plane_serves_both(
    tmp_path: pathlib.Path, plane: str
) -> None:
    group = f'[drivers:{plane}:sqlalchemy]'
    file = tmp_path / 'one.sqlite'
    _open(_conf(tmp_path, f'{group}\nuri = sqlite:///{file}'))
    assert [path.name for path in tmp_path.glob('*.sqlite')] == ['one.sqlite']


def test_each_plane_may_have_its_own(tmp_path: pathlib.Path) -> None:
    text = ''.join(
        f'[drivers:{plane}:sqlalchemy]\nuri = sqlite:///{tmp_path}/{plane}\n'
        for plane in configured_drivers_and_options.PLANES
    )
    _open(_conf(tmp_path, text))
    assert (tmp_path / 'message_store').is_file()
    assert (tmp_path / 'management_store').is_file()


def test_the_old_name_of_the_driver_option_works(
    tmp_path: pathlib.Path,
) -> None:
    conf = _conf(tmp_path, '[drivers]\nstorage = nonsense')
    with pytest.raises(ConfigurationError, match='nonsense'):
        store_opener.open_stores(conf)


@pytest.mark.parametrize('name', ['mongodb', 'redis', 'swift'])
@pytest.mark.parametrize('plane', configured_drivers_and_options.PLANES)
def test_a_forgotten_driver_is_named(
    tmp_path: pathlib.Path, name: str, plane: str
) -> None:
    conf = _conf(tmp_path, f'[drivers:{plane}:{name}]\nuri = {name}://x')
    with pytest.raises(ConfigurationError, match=f'set {plane} = {name}'):
        store_opener.open_stores(conf)


def test_a_uri_beside_a_chosen_driver_is_no_mistake(
    tmp_path: pathlib.Path,
) -> None:
    text = (
        f'[DEFAULT]\nstate_path = {tmp_path}\n'
        '[drivers]\nmessage_store = sqlalchemy\n'
        'management_store = sqlalchemy\n'
        '[drivers:message_store:redis]\nuri = redis://x'
    )
    _open(_conf(tmp_path, text))


_MONGODB = """
[drivers]
message_store = {name}
[drivers:message_store:mongodb]
uri = mongodb://messages
partitions = 5
[drivers:management_store:mongodb]
uri = mongodb://management
"""


def test_options_of_a_driver_are_not_those_of_one_that_falls_back_on_it(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    conf = _conf(tmp_path, _MONGODB.format(name='mongodb'))
    config_file_check.check(conf)
    store_opener.PoolOpener(conf)
    management, messages = configured_drivers_and_options.locations(conf)
    assert management.option == '[drivers:management_store:mongodb] uri'
    assert messages.uri == 'mongodb://messages'
    assert 'eprecated' not in caplog.text


def test_a_driver_falls_back_on_the_groups_of_another(
    tmp_path: pathlib.Path,
) -> None:
    text = _MONGODB.format(name='mongodb.fifo\nmanagement_store = mongodb')
    conf = _conf(
        tmp_path, f'{text}[drivers:message_store:mongodb.fifo]\ndatabase = a'
    )
    _, messages = configured_drivers_and_options.locations(conf)
    assert messages.uri == 'mongodb://messages'
    name = 'mongodb.fifo'
    driver = installed_drivers.installed()[name]
    values = configured_drivers_and_options.values_of(
        conf, driver, 'message_store', name
    )
    assert (values['database'], values['partitions']) == ('a', 5)


def test_the_state_path_follows_the_base_directories(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_path, 'SYSTEM', str(tmp_path / 'nothing'))
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'xdg'))
    assert state_path.state_path(_conf(tmp_path)) == tmp_path / 'xdg' / 'zaqar'
    monkeypatch.setenv('XDG_STATE_HOME', 'relative')
    monkeypatch.setenv('HOME', str(tmp_path))
    expected = tmp_path / '.local' / 'state' / 'zaqar'
    assert state_path.state_path(_conf(tmp_path)) == expected
    system = tmp_path / 'system'
    system.mkdir()
    monkeypatch.setattr(state_path, 'SYSTEM', str(system))
    assert state_path.state_path(_conf(tmp_path)) == system
