# SPDX-License-Identifier: Apache-2.0
"""What the URI of a pool may name, for each driver."""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from zaqar.errors import ConfigurationError
from zaqar.storage import configured_drivers_and_options, store_opener

#: What cannot be used, by what its name is in the complaint.
_REFUSED = (
    ('mysql://u:p@127.0.0.1:1/d?{}', 'local_infile=1'),
    ('mysql://u:p@127.0.0.1:1/d?{}', 'client_flag=128'),
    ('mysql://u:p@127.0.0.1:1/d?{}', 'read_default_file=/none'),
    ('mysql://u:p@127.0.0.1:1/d?{}', 'read_default_group=client'),
    ('mysql://u:p@127.0.0.1:1/d?{}', 'init_command=SELECT 1'),
    ('mysql://u:p@127.0.0.1:1/d?{}', 'plugin=none'),
    ('mariadb+pymysql://127.0.0.1:1/d?charset=utf8mb4&{}', 'local_infile=0'),
    ('postgresql://u:p@127.0.0.1:1/d?{}', 'passfile=/none'),
    ('postgresql://u:p@127.0.0.1:1/d?{}', 'service=none'),
    ('postgresql://u:p@127.0.0.1:1/d?{}', 'sslkeylogfile=/none'),
    ('postgresql://u:p@127.0.0.1:1/d?{}', 'sslcrldir=/none'),
    ('postgresql+psycopg://127.0.0.1:1/d?sslmode=prefer&{}', 'plugin=none'),
    ('sqlite:///{folder}/a.sqlite?{}', 'plugin=none'),
    ('sqlite:///{folder}/a.sqlite?{}', 'mode=ro'),
    ('mongodb://127.0.0.1:1/?{}', 'authMechanismProperties=ENVIRONMENT:k8s'),
    ('mongodb.fifo://127.0.0.1:1/?{}', 'authMechanism=MONGODB-OIDC'),
    ('mongodb://127.0.0.1:1/?tls=true;{}', 'authMechanism=MONGODB-OIDC'),
    ('mongodb://127.0.0.1:1/?tls=true {}', 'authMechanism=MONGODB-OIDC'),
    ('mongodb://127.0.0.1:1/?w=1;{}', 'proxyHost=none'),
    ('redis://127.0.0.1:1/?{}', 'unix_socket_path=/none'),
)


@pytest.fixture
def state(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / 'state'
    folder.mkdir()
    return folder


def _opener(state: pathlib.Path, text: str = '') -> store_opener.PoolOpener:
    file = state.parent / 'zaqar.conf'
    file.write_text(f'[DEFAULT]\nstate_path = {state}\n{text}')
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(file)], project='zaqar')
    configured_drivers_and_options.register_opts(conf)
    return store_opener.PoolOpener(conf)


@pytest.mark.parametrize(('uri', 'option'), _REFUSED)
def test_options_that_reach_into_the_machine_are_refused(
    state: pathlib.Path, uri: str, option: str
) -> None:
    full = uri.replace('{folder}', str(state)).replace('{}', option)
    with pytest.raises(ConfigurationError, match=option.partition('=')[0]):
        _opener(state).open(full, {})
    assert not list(state.iterdir())


@pytest.mark.parametrize(
    'uri',
    [
        'mysql://u:p@127.0.0.1:1/d?charset=utf8mb4&connect_timeout=1',
        'postgresql://u:p@127.0.0.1:1/d?sslmode=require&connect_timeout=1',
        'mongodb://127.0.0.1:1/?replicaSet=rs&w=majority&tls=true',
        'mongodb://127.0.0.1:1/?replicaSet=rs;w=majority;appName=a+b%20c',
        'redis://127.0.0.1:1/0?prefix=east',
    ],
)
def test_options_that_deployments_need_are_not(
    state: pathlib.Path, uri: str
) -> None:
    _opener(state).check(uri)


@pytest.mark.parametrize(
    'uri',
    [
        'mysql://u:p@127.0.0.1:1/d?ssl_ca=/dev/zero',
        'postgresql://u:p@127.0.0.1:1/d?sslrootcert=/dev/zero',
        'mongodb://127.0.0.1:1/?tls=true&tlsCAFile=/dev/zero',
        'mongodb://127.0.0.1:1/?tls=true;tlsCAFile=/dev/zero',
        'rediss://127.0.0.1:1/?ssl_ca_certs=/dev/zero',
    ],
)
def test_a_certificate_is_no_device(state: pathlib.Path, uri: str) -> None:
    with pytest.raises(ConfigurationError, match=r'regular file|be read'):
        _opener(state).open(uri, {})


@pytest.mark.parametrize(
    ('uri', 'options'),
    [
        ('rediss://127.0.0.1:1', {'ssl_ca_certs': '/dev/zero'}),
        ('mongodb://127.0.0.1:1/?tls=true', {'ssl_keyfile': '/dev/zero'}),
    ],
)
def test_nor_is_one_among_the_options_of_a_pool(
    state: pathlib.Path, uri: str, options: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match='cannot be read'):
        _opener(state).open(uri, options)


def test_sqlite_files_are_below_the_state_path(state: pathlib.Path) -> None:
    opener = _opener(state)
    opener.open(f'sqlite:///{state}/a.sqlite', {}).close()
    link = state / 'link'
    link.symlink_to(state.parent)
    for path in ('a', 'state/../a', 'state/link/a', 'state-not'):
        with pytest.raises(ConfigurationError, match='sqlite_path'):
            opener.open(f'sqlite:///{state.parent}/{path}', {})
    assert (state / 'a.sqlite').exists()
    assert not (state.parent / 'a').exists()


def test_sqlite_files_are_where_the_option_says(state: pathlib.Path) -> None:
    folder = state.parent / 'pools'
    folder.mkdir()
    opener = _opener(state, f'[pooling:catalog]\nsqlite_path = {folder}\n')
    opener.open(f'sqlite:///{folder}/a.sqlite', {}).close()
    with pytest.raises(ConfigurationError, match='sqlite_path'):
        opener.open(f'sqlite:///{state}/a.sqlite', {})
