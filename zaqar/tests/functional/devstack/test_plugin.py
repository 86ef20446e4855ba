# SPDX-License-Identifier: Apache-2.0
"""The phases of the plugin: what they call, and what they write."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

from zaqar import opts
from zaqar.tests.functional.devstack.conftest import PLUGIN, Devstack

SCRIPTS = sorted(
    path
    for path in PLUGIN.rglob('*')
    if path.is_file() and path.suffix in ('', '.sh')
)

#: Each back end, and the extras of our package that it needs.
EXTRAS = {
    'sqlalchemy': 'mysql',
    'redis': 'redis,mysql',
    'swift': 'swift,mysql',
    'mongodb': 'mongodb',
}


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_the_shell_can_read_each_script(path: pathlib.Path) -> None:
    done = subprocess.run(
        ['bash', '-n', str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, '')


def _without(calls: list[str], *names: str) -> list[str]:
    return [call for call in calls if call.split()[0] not in names]


# Settings.


def test_settings_enable_both_services_and_keep_what_is_set(
    devstack: Devstack,
) -> None:
    names = (
        'ENABLED_SERVICES ZAQAR_BACKEND ZAQAR_CONF ZAQAR_UWSGI_CONF '
        'ZAQAR_UWSGI ZAQAR_WEBSOCKET_PORT ZAQAR_SERVICE_HOST '
        'ZAQAR_SERVICE_PROTOCOL ZAQAR_TRUSTEE_USER ZAQAR_TRUSTEE_PASSWORD '
        'ZAQAR_TRUSTEE_DOMAIN ZAQAR_BRANCH ZAQAR_REPO'
    )
    del devstack.env['ZAQAR_CONF_DIR']
    devstack.env['ZAQAR_BRANCH'] = 'mine'
    done = devstack.script(
        f'source {PLUGIN}/settings\n'
        f'for name in {names}; do echo "$name=${{!name}}"; done\n'
        'echo "${GITDIR[python-zaqarclient]}" '
        '"${GITREPO[zaqar-tempest-plugin]}" '
        '"${GITBRANCH[zaqar-tempest-plugin]}"'
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        'ENABLED_SERVICES=key,mysql,zaqar-websocket,zaqar-wsgi',
        'ZAQAR_BACKEND=sqlalchemy',
        'ZAQAR_CONF=/etc/zaqar/zaqar.conf',
        'ZAQAR_UWSGI_CONF=/etc/zaqar/uwsgi.conf',
        'ZAQAR_UWSGI=zaqar.transport.wsgi.app:application',
        'ZAQAR_WEBSOCKET_PORT=9000',
        'ZAQAR_SERVICE_HOST=127.0.0.1',
        'ZAQAR_SERVICE_PROTOCOL=http',
        'ZAQAR_TRUSTEE_USER=zaqar',
        'ZAQAR_TRUSTEE_PASSWORD=pass$word',
        'ZAQAR_TRUSTEE_DOMAIN=default',
        'ZAQAR_BRANCH=mine',
        'ZAQAR_REPO=https://opendev.org/openstack/zaqar.git',
        f'{devstack.env["DEST"]}/python-zaqarclient '
        'https://opendev.org/openstack/zaqar-tempest-plugin.git master',
    ]


@pytest.mark.parametrize(
    'phase',
    [
        ('stack', 'install'),
        ('stack', 'post-config'),
        ('stack', 'extra'),
        ('unstack',),
        ('clean',),
    ],
)
def test_nothing_is_done_unless_a_service_is_enabled(
    devstack: Devstack, phase: tuple[str, ...]
) -> None:
    calls = devstack.phase(*phase, before='ENABLED_SERVICES=key,mysql')
    assert calls == ['define_plugin zaqar']


@pytest.mark.parametrize('backend', EXTRAS)
def test_phases_may_be_run_twice(devstack: Devstack, backend: str) -> None:
    """But for the start, which needs a Keystone: see test_running."""
    devstack.env |= {'ZAQAR_BACKEND': backend, 'LIBS_FROM_GIT': ''}
    devstack.env['ENABLED_SERVICES'] += ',h-eng,tempest'
    for phase in (
        ('stack', 'pre-install'),
        ('stack', 'install'),
        ('stack', 'post-config'),
        ('stack', 'test-config'),
        ('unstack',),
        ('clean',),
    ):
        first = devstack.phase(*phase)
        assert devstack.phase(*phase) == first


# Installation.


def test_clients_come_from_the_index_or_from_git(devstack: Devstack) -> None:
    calls = devstack.phase('stack', 'install')
    assert calls[1:] == ['pip_install_gr python-zaqarclient']
    devstack.env['LIBS_FROM_GIT'] = 'python-zaqarclient'
    devstack.env['ENABLED_SERVICES'] += ',tempest'
    assert devstack.phase('stack', 'install')[1:] == [
        'git_clone_by_name python-zaqarclient',
        'setup_dev_lib python-zaqarclient',
        'git_clone_by_name zaqar-tempest-plugin',
        'setup_dev_lib zaqar-tempest-plugin',
    ]


def test_panels_are_enabled_where_horizon_is(devstack: Devstack) -> None:
    enabled = devstack.folder / 'horizon/openstack_dashboard/local/enabled'
    enabled.mkdir(parents=True)
    (enabled / '_1510_old.py').write_text("ADD_PANEL = 'zaqar_ui.content'")
    (enabled / '_90_other.py').write_text("ADD_PANEL = 'other'")
    devstack.env['ENABLED_SERVICES'] += ',horizon'
    source = PLUGIN.parent / 'zaqar_dashboard'
    ours = {path.name for path in source.glob('enabled/_[0-9]*.py')}
    for _ in range(2):
        calls = devstack.phase('stack', 'install')
        assert f'setup_develop {source}' in calls
        names = {path.name for path in enabled.iterdir()}
        assert names == {*ours, '_90_other.py'}
    devstack.phase('clean')
    assert [path.name for path in enabled.iterdir()] == ['_90_other.py']


@pytest.mark.parametrize('backend', EXTRAS)
def test_the_package_comes_with_what_its_back_end_needs(
    devstack: Devstack, backend: str
) -> None:
    devstack.env['ZAQAR_BACKEND'] = backend
    calls = devstack.phase('stack', 'post-config')
    assert f'setup_develop {PLUGIN.parent} {EXTRAS[backend]}' in calls


def test_an_unknown_back_end_is_refused(devstack: Devstack) -> None:
    devstack.env['ZAQAR_BACKEND'] = 'floppy'
    done = devstack.run('stack', 'post-config')
    assert done.returncode != 0
    assert 'ZAQAR_BACKEND=floppy: must be sqlalchemy' in done.stderr
    assert not devstack.conf.exists()


# Configuration.


def _general(devstack: Devstack) -> dict[str, dict[str, str]]:
    """Return what is written whatever the back end."""
    return {
        'DEFAULT': {
            'debug': 'True',
            'unreliable': 'True',
            'admin_mode': 'True',
            'pooling': 'True',
            'auth_strategy': 'keystone',
        },
        'pooling:catalog': {'enable_virtual_pool': 'True'},
        'drivers:transport:websocket': {
            'bind': '127.0.0.1',
            'port': '9000',
            'http_prefix': '/messaging',
        },
        'storage': {'message_pipeline': 'zaqar.notification.notifier'},
        'notification': {
            'allowed_networks': '127.0.0.0/8,127.0.0.1/32',
            'trust_targets': '127.0.0.1',
        },
        'quotas': {
            'queues': '1000',
            'topics': '1000',
            'subscriptions': '1000',
            'subscriptions_per_queue': '100',
            'sockets': '500',
        },
        'rates': {
            'requests': '500',
            'messages': '1000',
            'message_bytes': '10000000',
            'deliveries': '200',
            'mails': '2',
        },
        'keystone_authtoken': {'auth_type': 'password'},
        'drivers:transport:sqs': {'enabled': 'True'},
        'oslo_policy': {'enforce_new_defaults': 'True'},
        'console': {
            'identity_url': 'http://127.0.0.1/identity/v3',
            'websocket_url': 'ws://127.0.0.1:9000',
        },
        'trustee': {
            'auth_type': 'password',
            'auth_url': 'http://127.0.0.1/identity',
            'username': 'zaqar',
            'password': 'pass$$word',
            'user_domain_id': 'default',
        },
    }


def _stores(devstack: Devstack, backend: str) -> dict[str, dict[str, str]]:
    """Return what is written for a back end."""
    database = {'uri': devstack.env['DATABASE_URL']}
    messages = f'drivers:message_store:{backend}'
    management = f'drivers:management_store:{backend}'
    if backend == 'mongodb':
        server = 'mongodb://localhost:27017'
        return {
            messages: {'uri': f'{server}/zaqar', 'database': 'zaqar'},
            management: {
                'uri': f'{server}/zaqar_mgmt',
                'database': 'zaqar_mgmt',
            },
        }
    stores = {
        'redis': {'uri': 'redis://localhost:6379'},
        'swift': {
            'auth_url': 'http://127.0.0.1/identity/v3',
            'uri': 'swift://zaqar:pass$$word@/service',
        },
        'sqlalchemy': database,
    }
    return {
        messages: stores[backend],
        'drivers:management_store:sqlalchemy': database,
    }


@pytest.mark.parametrize('backend', EXTRAS)
def test_the_configuration_is_written_in_full(
    devstack: Devstack, backend: str
) -> None:
    devstack.env['ZAQAR_BACKEND'] = backend
    devstack.phase('stack', 'post-config')
    sections = {name: dict(each) for name, each in devstack.options().items()}
    key = sections.pop('signed_url')['secret_key']
    assert len(key) == 64
    assert sections.pop('drivers') == {
        'transport': 'websocket',
        'message_store': backend,
        'management_store': 'mongodb'
        if backend == 'mongodb'
        else 'sqlalchemy',
    }
    assert sections == {**_general(devstack), **_stores(devstack, backend)}
    # All of it is known to the service, or to its libraries.
    registered = {
        (group, name)
        for group, options in opts.list_opts()
        for option in options
        for name in (option.name, option.dest)
    }
    del sections['keystone_authtoken'], sections['oslo_policy']
    del sections['DEFAULT']['debug']
    written = {(group, name) for group in sections for name in sections[group]}
    assert written <= registered, written - registered
    # It holds passwords.
    assert devstack.conf.stat().st_mode & 0o007 == 0


def test_the_key_of_signed_urls_survives_and_nothing_else_does(
    devstack: Devstack,
) -> None:
    devstack.env['ZAQAR_BACKEND'] = 'redis'
    devstack.phase('stack', 'post-config')
    key = devstack.options()['signed_url']['secret_key']
    devstack.env['ZAQAR_BACKEND'] = 'sqlalchemy'
    devstack.phase('stack', 'post-config')
    options = devstack.options()
    assert options['signed_url']['secret_key'] == key
    assert 'drivers:message_store:redis' not in options


def test_another_machine_has_another_key(
    devstack: Devstack, tmp_path: pathlib.Path
) -> None:
    (tmp_path / 'other').mkdir()
    other = Devstack(tmp_path / 'other')
    keys = set()
    for each in (devstack, other):
        each.phase('stack', 'post-config')
        keys.add(each.options()['signed_url']['secret_key'])
    assert len(keys) == 2


def test_an_address_in_brackets_is_bound_to_without_them(
    devstack: Devstack,
) -> None:
    devstack.env |= {'SERVICE_HOST': '[::1]', 'SERVICE_PROTOCOL': 'https'}
    calls = devstack.phase('stack', 'post-config')
    options = devstack.options()
    assert options['drivers:transport:websocket']['bind'] == '::1'
    assert options['console']['websocket_url'] == 'wss://[::1]:9000'
    assert (
        'get_or_create_endpoint messaging-websocket RegionOne '
        'https://[::1]:9000' in calls
    )


def test_the_tables_are_made(devstack: Devstack) -> None:
    calls = devstack.phase('stack', 'post-config')
    assert 'recreate_database zaqar' in calls
    assert (devstack.folder / 'devstack.sqlite').stat().st_size


def test_the_api_runs_below_a_prefix(devstack: Devstack) -> None:
    calls = devstack.phase('stack', 'post-config')
    assert (
        'write_uwsgi_config uwsgi.conf '
        'zaqar.transport.wsgi.app:application /messaging  zaqar-wsgi' in calls
    )


# Back ends.


@pytest.mark.parametrize(
    ('distro', 'package', 'service'),
    [('noble', 'redis-server', 'redis-server'), ('rhel9', 'redis', 'redis')],
)
def test_redis_is_installed(
    devstack: Devstack, distro: str, package: str, service: str
) -> None:
    devstack.env |= {'ZAQAR_BACKEND': 'redis', 'DISTRO': distro}
    calls = devstack.phase('stack', 'post-config')
    assert f'install_package {package}' in calls
    assert f'restart_service {service}' in calls


@pytest.mark.parametrize(
    ('distro', 'path', 'text'),
    [
        (
            'noble',
            'root_etc_apt_sources.list.d_mongodb-org-8.0.list',
            'https://repo.mongodb.org/apt/ubuntu noble/mongodb-org/8.0',
        ),
        (
            'rhel9',
            'root_etc_yum.repos.d_mongodb-org-6.0.repo',
            'https://repo.mongodb.org/yum/redhat/9/mongodb-org/6.0/',
        ),
    ],
)
def test_mongodb_comes_from_its_maker(
    devstack: Devstack, distro: str, path: str, text: str
) -> None:
    devstack.env |= {'ZAQAR_BACKEND': 'mongodb', 'DISTRO': distro}
    calls = devstack.phase('stack', 'post-config')
    assert text in (devstack.folder / path).read_text()
    assert 'install_package mongodb-org' in calls
    assert 'restart_service mongod' in calls
    assert 'recreate_database zaqar' not in calls


def test_mongodb_is_refused_where_its_maker_has_none(
    devstack: Devstack,
) -> None:
    devstack.env |= {'ZAQAR_BACKEND': 'mongodb', 'DISTRO': 'bookworm'}
    done = devstack.run('stack', 'post-config')
    assert done.returncode != 0
    assert 'there are no MongoDB packages for bookworm' in done.stderr


# Accounts.


def test_accounts_and_endpoints_are_made(devstack: Devstack) -> None:
    calls = devstack.phase('stack', 'post-config')
    assert calls[-5:] == [
        'create_service_user zaqar',
        'get_or_create_service zaqar messaging Zaqar Service',
        'get_or_create_endpoint messaging RegionOne '
        'http://127.0.0.1/messaging',
        'get_or_create_service zaqar-websocket messaging-websocket '
        'Zaqar Websocket Service',
        'get_or_create_endpoint messaging-websocket RegionOne '
        'http://127.0.0.1:9000',
    ]


def test_swift_needs_a_role_and_others_do_not(devstack: Devstack) -> None:
    role = 'get_or_add_user_project_role ResellerAdmin zaqar service'
    assert role not in devstack.phase('stack', 'post-config')
    devstack.env['ZAQAR_BACKEND'] = 'swift'
    assert role in devstack.phase('stack', 'post-config')


def test_a_trustee_of_its_own_is_made(devstack: Devstack) -> None:
    devstack.env['ZAQAR_TRUSTEE_USER'] = 'trusted'
    calls = devstack.phase('stack', 'post-config')
    assert 'get_or_create_user trusted pass$word default' in calls
    assert devstack.options()['trustee']['username'] == 'trusted'


def test_without_keystone_no_account_is_made(devstack: Devstack) -> None:
    devstack.env['ENABLED_SERVICES'] = 'mysql'
    calls = devstack.phase('stack', 'post-config')
    assert 'create_service_user zaqar' not in calls
    options = devstack.options()
    assert 'auth_strategy' not in options['DEFAULT']
    assert 'trustee' not in options
    assert 'oslo_policy' not in options
    assert 'identity_url' not in options['console']


# Heat.


def _heat(devstack: Devstack) -> pathlib.Path:
    folder = devstack.folder / 'types'
    folder.mkdir()
    (folder / 'zaqar_queue.py').write_text('')
    devstack.env['ZAQAR_HEAT_DIR'] = str(folder)
    devstack.env['ENABLED_SERVICES'] += ',h-eng'
    return folder / 'zaqar_queue.py'


def test_heat_finds_our_resource_types(devstack: Devstack) -> None:
    module = _heat(devstack)
    link = devstack.folder / 'heat' / module.name
    for _ in range(2):
        devstack.phase('stack', 'post-config')
        assert link.readlink() == module
    assert not devstack.heat_conf.exists()
    own = devstack.folder / 'heat' / 'own.py'
    own.write_text('')
    devstack.phase('clean')
    assert not link.exists()
    assert own.exists()


def test_heat_finds_them_beside_folders_that_are_named(
    devstack: Devstack,
) -> None:
    _heat(devstack)
    devstack.heat_conf.write_text('[DEFAULT]\nplugin_dirs = /contrib\n')
    for _ in range(2):
        devstack.phase('stack', 'post-config')
    text = devstack.heat_conf.read_text()
    assert f'plugin_dirs = /contrib,{devstack.folder}/heat\n' in text


def test_without_heat_nothing_of_it_is_touched(devstack: Devstack) -> None:
    devstack.phase('stack', 'post-config')
    assert list((devstack.folder / 'heat').iterdir()) == []


# The end.


def test_clean_removes_what_stack_has_made(devstack: Devstack) -> None:
    devstack.phase('stack', 'post-config')
    for _ in range(2):
        calls = devstack.phase('clean')
        conf = devstack.folder / 'etc' / 'uwsgi.conf'
        assert calls[1:] == [f'remove_uwsgi_config {conf} zaqar-wsgi']


def test_clean_drops_databases_of_mongodb_and_lives_without_its_shell(
    devstack: Devstack,
) -> None:
    devstack.env['ZAQAR_BACKEND'] = 'mongodb'
    done = devstack.run('clean')
    assert done.returncode == 0
    assert 'neither mongosh nor mongo' in done.stdout
    shell = devstack.folder / 'bin' / 'mongosh'
    shell.parent.mkdir()
    shell.write_text('#!/bin/sh\necho "$@"\n')
    shell.chmod(0o755)
    devstack.env['PATH'] += f':{shell.parent}'
    done = devstack.run('clean')
    assert done.returncode == 0
    assert 'dropDatabase()' in done.stdout
