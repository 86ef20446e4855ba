# SPDX-License-Identifier: Apache-2.0
"""A Heat with our resource types: its API, its engine, and a client.

It runs in an environment of its own, which ``tools/heat-venv`` makes;
``ZAQAR_TEST_HEAT_VENV`` names another one.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from zaqar.tests.servers import process
from zaqar.tests.servers.keystone import DOMAIN, Keystone

_TOP = pathlib.Path(__file__).parents[3]
_PROGRAM = pathlib.Path(__file__).with_name('in_heat.py')

#: Where our resource types are.
PLUGINS = _TOP / 'heat_plugins'

_CONFIGURATION = """\
[DEFAULT]
transport_url = {broker}
plugin_dirs = {plugins}
environment_dir = {folder}/environment.d
template_dir = {folder}/templates
auth_encryption_key = {key}
num_engine_workers = 1
stack_user_domain_id = {domain}
stack_domain_admin = {stack_admin}
stack_domain_admin_password = {stack_password}
heat_metadata_server_url = {origin}
heat_waitcondition_server_url = {origin}/v1/waitcondition
[database]
connection = {database}
[paste_deploy]
api_paste_config = {paste}
[oslo_policy]
policy_file = {folder}/policy.yaml
[oslo_concurrency]
lock_path = {folder}
[clients_keystone]
auth_uri = {keystone}
[trustee]
auth_type = password
auth_url = {keystone}
username = {username}
password = {password}
user_domain_id = {users}
"""


class Heat:
    """A running Heat.

    Its services are put into Keystone's catalogue at once, so a token made
    before knows nothing of them.

    :param database: URL of an empty database for it
    :param broker: URL of RabbitMQ
    :param policy: text of its policy file
    :ivar url: its API, version 1, without a project
    :ivar database: the URL given
    """

    def __init__(
        self,
        keystone: Keystone,
        database: str,
        broker: str,
        *,
        plugins: pathlib.Path = PLUGINS,
        policy: str = '{}',
    ) -> None:
        self._bin = environment() / 'bin'
        self.database = database
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.port = process.free_port()
        self.origin = f'http://127.0.0.1:{self.port}'
        self.url = f'{self.origin}/v1'
        self.conf = self.folder / 'heat.conf'
        self._admin = Administrator(keystone)
        (self.folder / 'conf.d').mkdir()
        (self.folder / 'policy.yaml').write_text(policy)
        self._configure(keystone, database, broker, plugins)
        self._run('heat-manage', *self._options(), 'db_sync')
        self._admin.offer('orchestration', f'{self.url}/%(tenant_id)s')
        self._start()

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Let updates look at what is there, for the length of a block."""
        plain = self.conf.read_text()
        self.conf.write_text(f'{plain}[DEFAULT]\nobserve_on_update = true\n')
        self._restart()
        try:
            yield
        finally:
            self.conf.write_text(plain)
            self._restart()

    def log(self) -> str:
        """Return what the engine has said since its last start."""
        return self._log.read_text()

    def stop(self) -> None:
        """End it for good."""
        # The API first: it has nobody to ask once the engine has gone.
        self._api.stop()
        self.engine.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _restart(self) -> None:
        self._api.stop()
        self.engine.stop()
        self._start()

    def _start(self) -> None:
        self._log = self.folder / f'engine-{secrets.token_hex(4)}.log'
        self.engine = process.Process(
            [str(self._bin / 'heat-engine'), *self._options()], self._log
        )
        self._api = process.Process(
            [*program('serve', str(self.port)), *self._options()],
            self.folder / 'api.log',
        )
        self.engine.wait_until(self._has_begun, patience=120.0)
        self._api.wait_until(lambda: process.accepts(self.port))
        self.engine.wait_until(self._serves, patience=120.0)

    def _has_begun(self) -> bool:
        return 'Starting engine_worker' in self.log()

    def _serves(self) -> bool:
        """Tell whether the API reaches the engine."""
        # A call that nobody listens for yet is lost, and the API waits for
        # its answer much longer than we do.
        url = f'{self.url}/{self._admin.project}/build_info'
        with contextlib.suppress(exceptions.ClientException):
            return self._admin.get(url, timeout=3).status_code == 200
        return False

    def _configure(
        self,
        keystone: Keystone,
        database: str,
        broker: str,
        plugins: pathlib.Path,
    ) -> None:
        domain, stack_admin, stack_password = self._admin.stack_domain()
        text = _CONFIGURATION.format(
            broker=broker,
            plugins=plugins,
            folder=self.folder,
            key=secrets.token_hex(16),
            domain=domain,
            stack_admin=stack_admin,
            stack_password=stack_password,
            origin=self.origin,
            database=database,
            paste=self._bin.parent / 'etc' / 'heat' / 'api-paste.ini',
            keystone=keystone.url,
            username=keystone.service.name,
            password=keystone.service.password,
            users=DOMAIN,
        )
        self.conf.write_text(text + keystone.authtoken_section())

    def _options(self) -> list[str]:
        # Without a folder named here, those of the machine are read.
        folder = self.folder / 'conf.d'
        return ['--config-file', str(self.conf), '--config-dir', str(folder)]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f'{program}: {done.stdout}{done.stderr}')


class Administrator:
    """What has to be said to Keystone before Heat can work."""

    def __init__(self, keystone: Keystone) -> None:
        self._url = keystone.url
        self._session = session.Session(
            v3.Password(
                keystone.url,
                username=keystone.admin.name,
                password=keystone.admin.password,
                user_domain_id=DOMAIN,
                project_name='admin',
                project_domain_id=DOMAIN,
            )
        )
        self.project = str(self._session.get_project_id())

    def get(self, url: str, *, timeout: float) -> requests.Response:
        """Read something as the administrator, whatever the answer.

        :param timeout: seconds to wait for it
        """
        answer: requests.Response = self._session.get(
            url, raise_exc=False, timeout=timeout
        )
        return answer

    def offer(self, kind: str, url: str, name: str | None = None) -> None:
        """Put a service with a public endpoint into the catalogue."""
        service = self._make('service', type=kind, name=name or kind)
        self._make(
            'endpoint', service_id=service['id'], interface='public', url=url
        )

    def stack_domain(self) -> tuple[str, str, str]:
        """Make the domain of users that stacks make.

        :returns: its id, and name and password of its administrator
        """
        domain = self._make('domain', name=f'heat-{secrets.token_hex(6)}')
        name, password = 'stacks', secrets.token_hex(8)
        user = self._make(
            'user', name=name, password=password, domain_id=domain['id']
        )
        roles = {
            role['name']: role['id']
            for role in self._session.get(f'{self._url}/roles').json()['roles']
        }
        self._session.put(
            f'{self._url}/domains/{domain["id"]}/users/{user["id"]}'
            f'/roles/{roles["admin"]}'
        )
        if 'heat_stack_user' not in roles:
            self._make('role', name='heat_stack_user')
        return domain['id'], name, password

    def _make(self, kind: str, **body: Any) -> Mapping[str, Any]:
        answer = self._session.post(f'{self._url}/{kind}s', json={kind: body})
        record: Mapping[str, Any] = answer.json()[kind]
        return record


def environment() -> pathlib.Path:
    """Return the environment that Heat is installed in."""
    configured = os.environ.get('ZAQAR_TEST_HEAT_VENV')
    folder = pathlib.Path(configured).absolute() if configured else None
    folder = folder or _TOP / '.venv-heat'
    if not (folder / 'bin' / 'heat-engine').exists():
        process.missing('Heat is not installed; run tools/heat-venv')
    return folder


def program(name: str, argument: str) -> list[str]:
    """Return the command of one of our programs in Heat's environment."""
    # Isolated: a module beside the program is called like Heat.
    python = str(environment() / 'bin' / 'python')
    return [python, '-I', str(_PROGRAM), name, argument]
