# SPDX-License-Identifier: Apache-2.0
"""A devstack of stubs: its functions by name, real files, real processes."""

from __future__ import annotations

import configparser
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import pytest

from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.zaqar import is_alive

TOP = pathlib.Path(__file__).parents[4]
HERE = pathlib.Path(__file__).parent

PLUGIN = TOP / 'devstack'


class Devstack:
    """Where the plugin is run.

    :ivar folder: stands for everything that a devstack writes to
    :ivar env: variables that devstack would have set
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.calls = folder / 'calls'
        self.conf = folder / 'etc' / 'zaqar.conf'
        self.authtoken = folder / 'authtoken'
        self.authtoken.write_text('auth_type=password\n')
        self.heat_conf = folder / 'heat.conf'
        (folder / 'heat').mkdir()
        self.env = {
            'AUTHTOKEN': str(self.authtoken),
            'CALLS': str(self.calls),
            'DATABASE_TYPE': 'mysql',
            'DATABASE_URL': f'sqlite:///{folder}/devstack.sqlite',
            'DEST': str(folder / 'dest'),
            'DISTRO': 'noble',
            'ENABLED_SERVICES': 'key,mysql',
            'ENABLE_DEBUG_LOG_LEVEL': 'True',
            'FOLDER': str(folder),
            'HEAT_CONF': str(self.heat_conf),
            'HORIZON_DIR': str(folder / 'horizon'),
            'HOST_IP': '127.0.0.1',
            'KEYSTONE_AUTH_URI': 'http://127.0.0.1/identity',
            'PATH': f'{pathlib.Path(sys.executable).parent}:{os.defpath}',
            'PYTHON': sys.executable,
            # This checkout, wherever the programs were installed from.
            'PYTHONPATH': str(TOP),
            'REGION_NAME': 'RegionOne',
            'SERVICE_HOST': '127.0.0.1',
            'SERVICE_PASSWORD': 'pass$word',
            'SERVICE_PROJECT_NAME': 'service',
            'SERVICE_PROTOCOL': 'http',
            'SERVICE_TIMEOUT': '180',
            'STACK_USER': str(os.geteuid()),
            'STUBS': str(HERE),
            'WEB_PORT': '1',
            'ZAQAR_API_LOG_DIR': str(folder / 'log'),
            'ZAQAR_CONF_DIR': str(folder / 'etc'),
            'ZAQAR_DIR': str(TOP),
            'ZAQAR_HEAT_PLUGIN_DIR': str(folder / 'heat'),
        }

    def run(
        self, *phase: str, before: str = ''
    ) -> subprocess.CompletedProcess[str]:
        """Source settings and plugin as devstack does.

        :param before: shell code to run between the two
        """
        return self.script(
            f'source {PLUGIN}/settings\n'
            f'{before}\n'
            f'source {PLUGIN}/plugin.sh {" ".join(phase)}'
        )

    def phase(self, *phase: str, before: str = '') -> Sequence[str]:
        """Run a phase that must succeed; return the calls it made."""
        self.calls.write_text('')
        done = self.run(*phase, before=before)
        assert done.returncode == 0, done.stderr
        return self.calls.read_text().splitlines()

    def script(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run shell code with the stubs at hand."""
        # As stack.sh does.
        lines = ('set -o errexit', f'source {HERE}/stubs.sh', text)
        return subprocess.run(
            ['bash', '-c', '\n'.join(lines)],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def options(self) -> Mapping[str, Mapping[str, str]]:
        """Return what is in zaqar.conf, by section."""
        parser = configparser.RawConfigParser(default_section='')
        parser.read(self.conf)
        return {name: dict(parser[name]) for name in parser.sections()}

    def pid(self, service: str) -> int:
        """Return the process of a service; 0 if there is none."""
        path = self.folder / f'{service}.pid'
        return int(path.read_text()) if path.exists() else 0

    def end(self) -> None:
        """End what was started and not stopped."""
        for path in self.folder.glob('*.pid'):
            if is_alive(int(path.read_text())):
                # Each leads a session of its own.
                os.killpg(int(path.read_text()), signal.SIGKILL)


@pytest.fixture
def devstack(tmp_path: pathlib.Path) -> Iterator[Devstack]:
    """A devstack that has run nothing yet."""
    stack = Devstack(tmp_path)
    yield stack
    stack.end()


@pytest.fixture(scope='session')
def keystone() -> Iterator[Keystone]:
    """A Keystone."""
    server = Keystone()
    yield server
    server.stop()
