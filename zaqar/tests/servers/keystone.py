# SPDX-License-Identifier: Apache-2.0
"""A Keystone on SQLite, with projects and users made as tests need them.

It runs in an environment of its own, which ``tools/keystone-venv`` makes;
``ZAQAR_TEST_KEYSTONE_VENV`` names another one.
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
from dataclasses import dataclass
from typing import Any

from keystoneauth1 import session
from keystoneauth1.identity import v3

from zaqar.tests.servers import process

DOMAIN = 'default'

_TOP = pathlib.Path(__file__).parents[3]
_PROGRAMS = pathlib.Path(__file__).with_name('in_keystone.py')

# All folders are named: the defaults lie in /etc/keystone, and a Keystone of
# this machine must neither be read nor written to.
_CONFIGURATION = """\
[DEFAULT]
public_endpoint = {origin}
[database]
connection = sqlite:///{folder}/keystone.sqlite
[identity]
domain_config_dir = {folder}/domains
password_hash_rounds = 4
[fernet_tokens]
key_repository = {folder}/token-keys
[fernet_receipts]
key_repository = {folder}/receipt-keys
[credential]
key_repository = {folder}/credential-keys
"""


@dataclass(frozen=True)
class User:
    """A user of the default domain."""

    id: str
    name: str
    password: str


@dataclass(frozen=True)
class Credential:
    """An EC2 credential of a user in a project."""

    access: str
    secret: str
    user: str
    project: str


class Keystone:
    """A running Keystone.

    :ivar url: its API, version 3
    :ivar admin: its administrator, in the project ``admin`` and the system
    :ivar environment: variables that it is started with
    :ivar service: whom services check tokens as
    :ivar service_project: id of the project that user has a role in
    """

    def __init__(self) -> None:
        self._bin = _environment() / 'bin'
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.port = process.free_port()
        self.origin = f'http://127.0.0.1:{self.port}'
        self.url = f'{self.origin}/v3'
        self.admin = User('', 'admin', secrets.token_hex(8))
        self._mint: subprocess.Popen[str] | None = None
        self.environment: dict[str, str] = {}
        self._initialize()
        self.start()
        self._session = session.Session(
            self._auth(self.admin, project_name='admin')
        )
        self._roles = {role['name']: role['id'] for role in self._get('roles')}
        self.service_project = self.project('service')
        self.service = self.user(self.service_project, 'service')

    def start(self) -> None:
        """Start it on its port and data, and wait until it answers."""
        self.process = process.Process(
            self._own('serve', str(self.port)),
            self.folder / 'log',
            env=self.environment,
        )
        self.process.wait_until(lambda: process.accepts(self.port))

    def halt(self) -> None:
        """End it; :meth:`start` brings it back."""
        self.process.stop()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Keep it down for the length of a block."""
        self.halt()
        try:
            yield
        finally:
            self.start()

    def stop(self) -> None:
        """End it for good."""
        self.halt()
        if self._mint is not None:
            # It ends with its input.
            self._mint.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def authtoken(self) -> dict[str, str]:
        """Return ``[keystone_authtoken]`` of a service that asks it."""
        return {
            'www_authenticate_uri': self.url,
            'auth_url': self.url,
            # The only endpoint that the catalogue has, as with devstack.
            'interface': 'public',
            'auth_type': 'password',
            'username': self.service.name,
            'password': self.service.password,
            'user_domain_id': DOMAIN,
            'project_name': 'service',
            'project_domain_id': DOMAIN,
            'service_token_roles': 'service',
            'service_token_roles_required': 'true',
            # Each retry waits twice as long as the one before.
            'http_request_max_retries': '0',
        }

    def authtoken_section(self) -> str:
        """Return the same as text of a configuration file."""
        options = self.authtoken().items()
        lines = [f'{name} = {value}' for name, value in options]
        return '\n'.join(['[keystone_authtoken]', *lines, ''])

    def project(self, name: str | None = None) -> str:
        """Make a project and return its id.

        :param name: None for a name that nobody has
        """
        body = {'name': name or _name(), 'domain_id': DOMAIN}
        return str(self._post('project', body)['id'])

    def user(self, project: str | None = None, *roles: str) -> User:
        """Make a user, with roles in a project if one is given."""
        name, password = _name(), secrets.token_hex(8)
        body = {'name': name, 'password': password, 'domain_id': DOMAIN}
        user = User(self._post('user', body)['id'], name, password)
        if project is not None:
            self.grant(user, project, *roles)
        return user

    def ensure_role(self, name: str) -> None:
        """Make a role that Keystone does not come with, if it is missing."""
        if name not in self._roles:
            self._roles[name] = self._post('role', {'name': name})['id']

    def grant(self, user: User, project: str, *roles: str) -> None:
        """Give a user roles in a project."""
        for role in roles:
            self._session.put(
                f'{self.url}/projects/{project}/users/{user.id}'
                f'/roles/{self._roles[role]}'
            )

    @contextlib.contextmanager
    def published(self, kind: str, url: str) -> Iterator[None]:
        """Have a service in the catalogue for the length of a block.

        Its endpoint is the public one of ``RegionOne``.
        """
        service = self._post('service', {'type': kind, 'name': kind})['id']
        endpoint = {
            'service_id': service,
            'interface': 'public',
            'region': 'RegionOne',
            'url': url,
        }
        self._post('endpoint', endpoint)
        try:
            yield
        finally:
            # Its endpoint goes with it.
            self._session.delete(f'{self.url}/services/{service}')

    def system(self) -> session.Session:
        """Return the administrator of the system."""
        return session.Session(self._auth(self.admin, system_scope='all'))

    def token(self, user: User, project: str) -> str:
        """Return a token of a user for a project."""
        return self._token(user, project_id=project)

    def restricted_token(
        self, user: User, project: str, *rules: str, service: str = 'messaging'
    ) -> str:
        """Return a token of an application credential with access rules.

        :param rules: each a method and a path, with a blank between
        :param service: type of the service that the rules are for
        """
        access = [
            {'method': method, 'path': path, 'service': service}
            for method, path in (rule.split(' ') for rule in rules)
        ]
        return self.application_credential_token(
            user, project, access_rules=access
        )

    def unscoped_token(self, user: User) -> str:
        """Return a token that says who, and nothing else."""
        return self._token(user, unscoped=True)

    def system_token(self) -> str:
        """Return the administrator's token for the whole system."""
        return self._token(self.admin, system_scope='all')

    def minted_token(self, user: User, project: str, seconds: int) -> str:
        """Return a token made by Keystone's own code behind its API.

        :param seconds: until it expires; negative for one that has expired
        """
        if self._mint is None:
            self._mint = self._open_mint()
        assert self._mint.stdin is not None
        assert self._mint.stdout is not None
        print(user.id, project, seconds, file=self._mint.stdin, flush=True)
        token = self._mint.stdout.readline().strip()
        if not token:
            raise RuntimeError(f'No token; see {self.folder}/mint')
        return token

    def trust_token(self, user: User, trust_id: str) -> str:
        """Return a token that a user has by a trust."""
        return self._token(user, trust_id=trust_id)

    def application_credential_token(
        self, user: User, project: str, **more: Any
    ) -> str:
        """Return a token by an application credential made for it."""
        name, secret = self.application_credential(user, project, **more)
        auth = v3.ApplicationCredential(
            self.url,
            application_credential_id=name,
            application_credential_secret=secret,
        )
        return str(session.Session(auth).get_token())

    def application_credential(
        self, user: User, project: str, **more: Any
    ) -> tuple[str, str]:
        """Return the id and the secret of a new application credential.

        :param more: further members of it
        """
        own = session.Session(self._auth(user, project_id=project))
        answer = own.post(
            f'{self.url}/users/{user.id}/application_credentials',
            json={'application_credential': {'name': _name(), **more}},
        )
        made = answer.json()['application_credential']
        return str(made['id']), str(made['secret'])

    def make_trust(
        self,
        trustor: User,
        trustee: User,
        project: str,
        *roles: str,
        **more: Any,
    ) -> str:
        """Let a user act for another one; return the id of the trust.

        :param more: further members of the trust
        """
        own = session.Session(self._auth(trustor, project_id=project))
        body = {
            'trustor_user_id': trustor.id,
            'trustee_user_id': trustee.id,
            'project_id': project,
            'impersonation': True,
            'roles': [{'id': self._roles[role]} for role in roles],
            **more,
        }
        answer = own.post(f'{self.url}/OS-TRUST/trusts', json={'trust': body})
        return str(answer.json()['trust']['id'])

    def ec2_credential(self, user: User, project: str) -> Credential:
        """Return a new EC2 credential of a user."""
        own = session.Session(self._auth(user, project_id=project))
        answer = own.post(
            f'{self.url}/users/{user.id}/credentials/OS-EC2',
            json={'tenant_id': project},
        )
        made = answer.json()['credential']
        return Credential(made['access'], made['secret'], user.id, project)

    def delete_ec2_credential(self, credential: Credential) -> None:
        """Delete it."""
        self._session.delete(
            f'{self.url}/users/{credential.user}/credentials/OS-EC2'
            f'/{credential.access}'
        )

    def revoke(self, token: str) -> None:
        """End a token before its time."""
        self._session.delete(
            f'{self.url}/auth/tokens', headers={'X-Subject-Token': token}
        )

    def validated(self, token: str) -> dict[str, Any]:
        """Return what a token says."""
        answer = self._session.get(
            f'{self.url}/auth/tokens', headers={'X-Subject-Token': token}
        )
        details: dict[str, Any] = answer.json()['token']
        return details

    def trusts(self, trustee: User) -> list[dict[str, Any]]:
        """Return the trusts in a user."""
        fresh = session.Session(self._auth(trustee, unscoped=True))
        answer = fresh.get(
            f'{self.url}/OS-TRUST/trusts?trustee_user_id={trustee.id}'
        )
        trusts: list[dict[str, Any]] = answer.json()['trusts']
        return trusts

    def _open_mint(self) -> subprocess.Popen[str]:
        # One for all tokens: Keystone's code takes seconds to load.
        with (self.folder / 'mint').open('ab') as log:
            return subprocess.Popen(
                self._own('mint'),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _token(self, user: User, **scope: Any) -> str:
        fresh = session.Session(self._auth(user, **scope))
        return str(fresh.get_token())

    def _auth(self, user: User, **scope: Any) -> v3.Password:
        if 'project_name' in scope:
            scope['project_domain_id'] = DOMAIN
        return v3.Password(
            self.url,
            username=user.name,
            password=user.password,
            user_domain_id=DOMAIN,
            **scope,
        )

    def _post(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._session.post(f'{self.url}/{kind}s', json={kind: body})
        record: dict[str, Any] = answer.json()[kind]
        return record

    def _get(self, kinds: str) -> list[dict[str, Any]]:
        answer = self._session.get(f'{self.url}/{kinds}')
        records: list[dict[str, Any]] = answer.json()[kinds]
        return records

    def _initialize(self) -> None:
        """Make its configuration, tables, keys and administrator."""
        (self.folder / 'conf.d').mkdir()
        (self.folder / 'keystone.conf').write_text(
            _CONFIGURATION.format(origin=self.origin, folder=self.folder)
        )
        user, group = str(os.geteuid()), str(os.getegid())
        self._manage('db_sync')
        self._manage(
            'fernet_setup',
            *('--keystone-user', user, '--keystone-group', group),
        )
        self._manage(
            'bootstrap',
            *('--bootstrap-password', self.admin.password),
            *('--bootstrap-public-url', self.url),
        )

    def _manage(self, *arguments: str) -> None:
        manage = str(self._bin / 'keystone-manage')
        self._run(manage, *self._options(), *arguments)

    def _own(self, *arguments: str) -> list[str]:
        """Return the command of one of our programs."""
        # Isolated: a module beside the program is called like Keystone.
        python = str(self._bin / 'python')
        program = (python, '-I', str(_PROGRAMS))
        return [*program, *arguments, *self._options()]

    def _options(self) -> list[str]:
        # Without a folder named here, those of the machine are read.
        file, folder = self.folder / 'keystone.conf', self.folder / 'conf.d'
        return ['--config-file', str(file), '--config-dir', str(folder)]

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f'{command[0]}: {done.stdout}{done.stderr}')
        return done.stdout


def _environment() -> pathlib.Path:
    configured = os.environ.get('ZAQAR_TEST_KEYSTONE_VENV')
    folder = pathlib.Path(configured).absolute() if configured else None
    folder = folder or _TOP / '.venv-keystone'
    if not (folder / 'bin' / 'keystone-manage').exists():
        process.missing('Keystone is not installed; run tools/keystone-venv')
    return folder


def _name() -> str:
    return f'test-{secrets.token_hex(6)}'
