# SPDX-License-Identifier: Apache-2.0
"""What the plugin has configured runs: behind a web server, with Keystone."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from zaqar.tests.functional.devstack.conftest import PLUGIN, Devstack
from zaqar.tests.servers import process
from zaqar.tests.servers.keystone import DOMAIN, Keystone
from zaqar.tests.servers.nginx import Nginx
from zaqar.tests.servers.sql import SqlServer
from zaqar.tests.servers.zaqar import is_alive

# Each runs a devstack's programs one after the other.
pytestmark = pytest.mark.timeout(900)

HEADERS = {'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c'}

# As Apache does with devstack's site.
_SITE = """
location ~ ^/messaging(?<path>/.*|)$ {{
    include /etc/nginx/uwsgi_params;
    uwsgi_param SCRIPT_NAME /messaging;
    uwsgi_param PATH_INFO $path;
    uwsgi_pass unix:{folder}/zaqar-wsgi.socket;
}}
"""


@pytest.fixture
def cloud(
    devstack: Devstack,
    keystone: Keystone,
    mariadb: SqlServer,
    tmp_path: pathlib.Path,
) -> Iterator[Devstack]:
    """A devstack with a Keystone, a database and a web server."""
    if not (
        pathlib.Path(devstack.env['PATH'].split(':')[0]) / 'uwsgi'
    ).exists():
        process.missing('uWSGI is not installed')
    web = Nginx(tmp_path / 'nginx', _SITE.format(folder=devstack.folder))
    options = keystone.authtoken()
    devstack.authtoken.write_text(
        ''.join(f'{name}={value}\n' for name, value in options.items())
    )
    devstack.env |= {
        # As devstack writes it.
        'DATABASE_URL': f'{mariadb.database()}?charset=utf8',
        'ZAQAR_WEBSOCKET_PORT': str(process.free_port()),
        'KEYSTONE_AUTH_URI': keystone.origin,
        'WEB_PORT': str(web.port),
        'OS_AUTH_URL': keystone.url,
        'OS_USERNAME': keystone.admin.name,
        'OS_PASSWORD': keystone.admin.password,
        'OS_PROJECT_NAME': 'admin',
        'OS_USER_DOMAIN_ID': DOMAIN,
        'OS_PROJECT_DOMAIN_ID': DOMAIN,
        'OS_IDENTITY_API_VERSION': '3',
        'HOME': str(tmp_path),
        'TOP_DIR': str(devstack.folder),
    }
    try:
        with keystone.published('messaging', f'{web.url}/messaging'):
            yield devstack
    finally:
        web.stop()


def _until(condition: Callable[[], bool], patience: float = 30.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _stack(cloud: Devstack) -> None:
    for phase in ('install', 'post-config', 'extra'):
        cloud.phase('stack', phase)


def _url(cloud: Devstack) -> str:
    return f'http://127.0.0.1:{cloud.env["WEB_PORT"]}/messaging/v2'


def test_what_is_stacked_serves_and_what_is_unstacked_does_not(
    cloud: Devstack, keystone: Keystone
) -> None:
    _stack(cloud)
    project = keystone.project()
    user = keystone.user(project, 'member')
    headers = {**HEADERS, 'X-Auth-Token': keystone.token(user, project)}
    url = f'{_url(cloud)}/queues/q'
    answer = requests.put(url, headers=headers, timeout=30)
    assert answer.status_code == 201
    assert answer.headers['Location'] == '/v2/queues/q'
    assert requests.put(url, headers=HEADERS, timeout=30).status_code == 401
    console = f'{_url(cloud).removesuffix("/v2")}/console/settings.json'
    settings = requests.get(console, timeout=30).json()
    assert settings['identity_url'] == keystone.url
    socket_url = f'ws://127.0.0.1:{cloud.env["ZAQAR_WEBSOCKET_PORT"]}'
    assert settings['websocket_url'] == socket_url
    pids = [cloud.pid(name) for name in ('zaqar-wsgi', 'zaqar-websocket')]
    assert all(pids)
    port = int(cloud.env['ZAQAR_WEBSOCKET_PORT'])
    assert _until(lambda: process.accepts(port)), _log(cloud)
    calls = cloud.phase('unstack')
    assert calls[1:] == [
        'stop_process zaqar-wsgi',
        'stop_process zaqar-websocket',
        'stop_process zaqar-notifier',
    ]
    assert _until(lambda: not any(is_alive(pid) for pid in pids))
    assert cloud.phase('unstack') == calls
    # And once more, on what the first time has left.
    _stack(cloud)
    again = requests.get(url, headers=headers, timeout=30)
    assert again.status_code == 200


def _log(cloud: Devstack) -> str:
    return (cloud.folder / 'zaqar-websocket.log').read_text()


def test_a_service_that_does_not_answer_is_told(cloud: Devstack) -> None:
    cloud.phase('stack', 'post-config')
    cloud.env['SERVICE_TIMEOUT'] = '2'
    cloud.env['WEB_PORT'] = str(process.free_port())
    done = cloud.run('stack', 'extra')
    assert done.returncode != 0
    assert (
        'Zaqar does not respond at http://127.0.0.1/messaging' in done.stderr
    )


# Grenade.


@pytest.fixture
def grenade(cloud: Devstack) -> Devstack:
    """The same, with what Grenade has."""
    folder = cloud.folder / 'grenade'
    (folder / 'lib').mkdir(parents=True)
    stubs = f'source {cloud.env["STUBS"]}/stubs.sh\n'
    for name in ('functions', 'stackrc', 'lib/tls', 'lib/apache'):
        (folder / name).write_text(stubs)
    for name in ('grenaderc', 'lib/keystone'):
        (folder / name).write_text('')
    (cloud.folder / 'openrc').write_text('')
    save = cloud.folder / 'save'
    save.mkdir()
    cloud.env |= {
        'GRENADE_DIR': str(folder),
        'BASE_DEVSTACK_DIR': str(folder),
        'TARGET_DEVSTACK_DIR': str(folder),
        'BASE_DEVSTACK_BRANCH': 'stable/2026.1',
        'TARGET_DEVSTACK_BRANCH': 'master',
        'SAVE_DIR': str(save),
        'TOP_DIR': str(cloud.folder),
    }
    return cloud


def _grenade(devstack: Devstack, name: str, *words: str) -> list[str]:
    """Run a script as Grenade does; return the calls it made."""
    devstack.calls.write_text('')
    done = devstack.script(f'{PLUGIN}/upgrade/{name} {" ".join(words)}')
    assert done.returncode == 0, done.stdout + done.stderr
    return devstack.calls.read_text().splitlines()


def test_an_upgrade_loses_nothing(grenade: Devstack) -> None:
    _stack(grenade)
    _grenade(grenade, 'resource.sh', 'create')
    _grenade(grenade, 'resource.sh', 'verify')
    pids = [grenade.pid(name) for name in ('zaqar-wsgi', 'zaqar-websocket')]
    calls = _grenade(grenade, 'shutdown.sh')
    assert calls[-1] == 'ensure_services_stopped zaqar-wsgi zaqar-server'
    assert _until(lambda: not any(is_alive(pid) for pid in pids))
    _grenade(grenade, 'resource.sh', 'verify_noapi')
    calls = _grenade(grenade, 'upgrade.sh')
    assert 'upgrade_project zaqar' in ' '.join(calls)
    assert 'wait_for_keystone' in calls
    assert calls[-1] == 'ensure_services_started zaqar-wsgi zaqar-server'
    saved = grenade.folder / 'save' / 'etc.zaqar' / 'zaqar.conf'
    assert saved.read_text() == grenade.conf.read_text()
    _grenade(grenade, 'resource.sh', 'verify')
    _grenade(grenade, 'resource.sh', 'destroy')
    _grenade(grenade, 'resource.sh', 'force_destroy')


def test_what_was_lost_is_noticed(grenade: Devstack) -> None:
    _stack(grenade)
    _grenade(grenade, 'resource.sh', 'create')
    _grenade(grenade, 'resource.sh', 'force_destroy')
    done = grenade.script(f'{PLUGIN}/upgrade/resource.sh verify')
    assert done.returncode != 0


def test_grenade_saves_the_database_and_enables_both_services(
    devstack: Devstack,
) -> None:
    enabled = 'enable_service zaqar-wsgi zaqar-websocket zaqar'
    devstack.calls.write_text('')
    devstack.script(f'source {PLUGIN}/upgrade/settings')
    assert devstack.calls.read_text().splitlines() == [
        'register_project_for_upgrade zaqar',
        'register_db_to_save zaqar',
        f'devstack_localrc base {enabled}',
        f'devstack_localrc target {enabled}',
    ]
    devstack.env['ZAQAR_BACKEND'] = 'mongodb'
    devstack.calls.write_text('')
    devstack.script(f'source {PLUGIN}/upgrade/settings')
    assert 'register_db_to_save' not in devstack.calls.read_text()


@pytest.mark.parametrize('key', ['short', 'x' * 32])
def test_a_key_that_everybody_knows_is_replaced(
    devstack: Devstack, key: str
) -> None:
    devstack.conf.parent.mkdir()
    devstack.conf.write_text(f'[signed_url]\nsecret_key = {key}\n')
    script = PLUGIN / 'upgrade' / 'from-2026.1' / 'upgrade-zaqar'
    done = devstack.script(
        f'ZAQAR_CONF={devstack.conf}\nsource {script}\nconfigure_zaqar_upgrade'
    )
    assert done.returncode == 0, done.stderr
    options = devstack.options()
    is_same = options['signed_url']['secret_key'] == key
    assert is_same == (len(key) == 32)
    assert options['notification']['allowed_networks'].startswith(
        '127.0.0.0/8'
    )


def test_mongodb_is_saved_by_the_beginning_of_names(
    devstack: Devstack,
) -> None:
    """Messages and queues are in databases beside the two configured."""
    folder = devstack.folder / 'bin'
    folder.mkdir()
    names = 'admin zaqar zaqar_mgmt_queues zaqar_messages_p0 zaqarish'
    for name, text in {
        'mongosh': f'printf "%s\\n" {names}',
        'mongodump': f'echo "$@" >> {devstack.folder}/dumped',
    }.items():
        (folder / name).write_text(f'#!/bin/bash\n{text}\n')
        (folder / name).chmod(0o755)
    devstack.env['PATH'] += f':{folder}'
    text = (PLUGIN / 'upgrade' / 'upgrade.sh').read_text()
    start, end = text.index('function _save_mongodb'), text.index('\n}\n')
    end = text.index('\n}\n', start) + 3
    done = devstack.script(
        f'source {PLUGIN}/settings\nsource {PLUGIN}/plugin.sh none\n'
        f'{text[start:end]}\n_save_mongodb {devstack.folder}/saved'
    )
    assert done.returncode == 0, done.stderr
    dumped = (devstack.folder / 'dumped').read_text().splitlines()
    assert [line.split()[1] for line in dumped] == [
        'zaqar',
        'zaqar_mgmt_queues',
        'zaqar_messages_p0',
    ]
