# SPDX-License-Identifier: Apache-2.0
"""A Swift on loopback: proxy, account, container and object server.

One device, one replica, accounts of ``tempauth`` and, if there is a Keystone,
also its projects. It runs in an environment of its own, which
``tools/swift-venv`` makes; ``ZAQAR_TEST_SWIFT_VENV`` names another one. Swift
keeps metadata in extended attributes, so the temporary folder must be on a
file system that has them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping

import requests

from zaqar.tests.servers import process

ACCOUNT, USER, PASSWORD = 'zaqar', 'tester', 'testing'

STORAGE = ('account', 'container', 'object')

_TOP = pathlib.Path(__file__).parents[3]

_COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
user = {user}
workers = 0
mount_check = false
fallocate_reserve = 0
recon_cache_path = {folder}
"""

_STORAGE = """\
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

_PROXY = """\
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck {auth} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# What a storage server does not answer in this time, it does not answer.
conn_timeout = 0.5
node_timeout = 2
recoverable_node_timeout = 2
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:tempauth]
use = egg:swift#tempauth
fernet_key_1 = {key}
active_fernet_key_id = 1
user_{account}_{name} = {password} .admin
[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = KEY_
operator_roles = member, service
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
delay_auth_decision = true
{authtoken}
"""

#: Accounts are known only by their hashes with these.
_SWIFT = """\
[swift-hash]
swift_hash_path_prefix = {prefix}
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = only
default = yes
"""


class Swift:
    """A running Swift.

    :param authtoken: how to ask a Keystone, as
        :meth:`zaqar.tests.servers.keystone.Keystone.authtoken` tells; None
        for ``tempauth`` alone
    :ivar auth_url: of ``tempauth``
    :ivar uri: of its account, for our driver
    """

    def __init__(self, authtoken: Mapping[str, str] | None = None) -> None:
        self._bin = _environment() / 'bin'
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        (self.folder / 'devices' / 'd1').mkdir(parents=True)
        _check_attributes(self.folder)
        self.port = process.free_port()
        self.ports = {name: process.free_port() for name in STORAGE}
        self.auth_url = f'http://127.0.0.1:{self.port}/auth/v1.0'
        self.uri = f'swift://{USER}:{PASSWORD}@/{ACCOUNT}'
        self.processes: dict[str, process.Process] = {}
        self._configure(authtoken)
        for name in (*STORAGE, 'proxy'):
            self.start(name)

    def start(self, name: str) -> None:
        """Start one of the servers and wait until it answers."""
        port = self.ports.get(name, self.port)
        self.processes[name] = process.Process(
            [
                str(self._bin / f'swift-{name}-server'),
                str(self.folder / f'{name}-server.conf'),
                'verbose',
            ],
            self.folder / f'{name}.log',
        )
        self.processes[name].wait_until(lambda: process.accepts(port))

    def halt(self, name: str) -> None:
        """End one of the servers."""
        self.processes[name].stop(signal.SIGKILL)

    @contextlib.contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Keep one of the servers down for the length of a block."""
        self.halt(name)
        try:
            yield
        finally:
            self.start(name)

    @contextlib.contextmanager
    def silent(self, name: str) -> Iterator[None]:
        """Let one of the servers accept, and say nothing."""
        child = self.processes[name].child
        child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            child.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all for good."""
        for name in ('proxy', *STORAGE):
            self.processes[name].stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def objects(self) -> list[str]:
        """Return the paths of all objects."""
        return [
            f'/{container}/{name}'
            for container in self._names('')
            for name in self._names(f'/{container}')
        ]

    def request(
        self, method: str, path: str, **options: object
    ) -> requests.Response:
        """Send a request to the account, as its administrator."""
        greeting = requests.get(
            self.auth_url,
            headers={
                'X-Auth-User': f'{ACCOUNT}:{USER}',
                'X-Auth-Key': PASSWORD,
            },
            timeout=10,
        )
        greeting.raise_for_status()
        return requests.request(
            method,
            greeting.headers['X-Storage-Url'] + path,
            headers={'X-Auth-Token': greeting.headers['X-Auth-Token']},
            timeout=10,
            **options,  # type: ignore[arg-type]
        )

    def requests(self) -> list[str]:
        """Return the requests to objects so far: method and path."""
        log = (self.folder / 'object.log').read_text(errors='replace')
        lines = []
        for line in log.splitlines():
            quoted = line.split('"')
            # ADDRESS - - [TIME] "METHOD /DEVICE/PARTITION/PATH" STATUS ...
            if len(quoted) > 2 and quoted[1].count('/') >= 5:
                method, _, path = quoted[1].partition(' ')
                lines.append(f'{method} /{path.split("/", 4)[4]}')
        return lines

    def _names(self, path: str) -> list[str]:
        answer = self.request('GET', path)
        return answer.text.split() if answer.ok else []

    def _configure(self, authtoken: Mapping[str, str] | None) -> None:
        self._write(
            'swift.conf',
            _SWIFT,
            prefix=secrets.token_hex(8),
            suffix=secrets.token_hex(8),
        )
        for name in STORAGE:
            self._write(
                f'{name}-server.conf',
                _COMMON + _STORAGE,
                name=name,
                port=self.ports[name],
            )
            self._make_ring(name)
        self._write(
            'proxy-server.conf',
            _COMMON + _PROXY,
            port=self.port,
            auth='authtoken keystoneauth' if authtoken else 'tempauth',
            account=ACCOUNT,
            name=USER,
            password=PASSWORD,
            key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            authtoken='\n'.join(
                f'{key} = {value}' for key, value in (authtoken or {}).items()
            ),
        )

    def _write(self, file: str, text: str, **values: object) -> None:
        user = pwd.getpwuid(os.geteuid()).pw_name
        (self.folder / file).write_text(
            text.format(folder=self.folder, user=user, **values)
        )

    def _make_ring(self, name: str) -> None:
        builder = str(self.folder / f'{name}.builder')
        device = f'r1z1-127.0.0.1:{self.ports[name]}/d1'
        for command in (
            # 2^4 partitions, one replica, no pause between changes.
            ('create', '4', '1', '0'),
            ('add', device, '1'),
            ('rebalance',),
        ):
            done = subprocess.run(
                [str(self._bin / 'swift-ring-builder'), builder, *command],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f'{done.stdout}{done.stderr}')


def version() -> str:
    """Return name and version of the server."""
    code = "from importlib import metadata as m; print(m.version('swift'))"
    python = str(_environment() / 'bin' / 'python')
    output = subprocess.check_output([python, '-c', code], text=True)
    return f'Swift {output.strip()}'


def _environment() -> pathlib.Path:
    configured = os.environ.get('ZAQAR_TEST_SWIFT_VENV')
    folder = pathlib.Path(configured) if configured else _TOP / '.venv-swift'
    if not (folder / 'installed').exists():
        process.missing('Swift is not installed; run tools/swift-venv')
    return folder


def _check_attributes(folder: pathlib.Path) -> None:
    try:
        os.setxattr(folder, 'user.swift.metadata', b'x' * 1024)
    except OSError as error:
        shutil.rmtree(folder)
        process.missing(
            f'{folder.parent} takes no extended attributes ({error.strerror});'
            ' TMPDIR names another folder'
        )
