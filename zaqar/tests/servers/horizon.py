# SPDX-License-Identifier: Apache-2.0
"""A Horizon with our panels.

It runs in an environment of its own, which ``tools/horizon-venv`` makes;
``ZAQAR_TEST_HORIZON_VENV`` names another one.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import shutil
import subprocess
import tempfile

import requests

from zaqar.tests.servers import process
from zaqar.tests.servers.keystone import Keystone

_TOP = pathlib.Path(__file__).parents[3]
_PROGRAM = pathlib.Path(__file__).with_name('in_horizon.py')

#: Where our panels are.
PANELS = _TOP / 'zaqar_dashboard'

_SETTINGS = """\
DEBUG = False
SECRET_KEY = {key!r}
ALLOWED_HOSTS = ['127.0.0.1']
STATIC_ROOT = {static!r}
COMPRESS_OFFLINE = True
OPENSTACK_KEYSTONE_URL = {keystone!r}
SESSION_ENGINE = 'django.contrib.sessions.backends.signed_cookies'
CACHES = {{
    'default': {{'BACKEND': 'django.core.cache.backends.locmem.LocMemCache'}}
}}
"""


class Horizon:
    """A running Horizon, with the panels as pip installs them.

    :ivar url: its login page
    """

    def __init__(self, keystone: Keystone) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self._install()
        settings = _SETTINGS.format(
            key=secrets.token_hex(16),
            static=str(environment() / 'static'),
            keystone=keystone.url,
        )
        (self.folder / 'local' / 'local_settings.py').write_text(settings)
        self.port = process.free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.process = process.Process(
            program('serve', str(self.folder), str(self.port)),
            self.folder / 'log',
        )
        self.process.wait_until(self._answers)

    def log(self) -> str:
        """Return what it has said."""
        return (self.folder / 'log').read_text(errors='replace')

    def stop(self) -> None:
        """End it for good."""
        self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            page = requests.get(f'{self.url}/auth/login/', timeout=30)
            return page.status_code == 200
        return False

    def _install(self) -> None:
        """Install the panels, and enable them as the guide says."""
        # A copy: pip leaves things in the folder that it builds from.
        source = shutil.copytree(PANELS, self.folder / 'source')
        packages = self.folder / 'packages'
        done = subprocess.run(
            [
                *(_python(), '-m', 'pip', 'install', '--quiet'),
                *('--no-deps', '--no-build-isolation', '--no-compile'),
                '--disable-pip-version-check',
                *('--target', str(packages), str(source)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f'pip: {done.stdout}{done.stderr}')
        enabled = self.folder / 'local' / 'enabled'
        enabled.mkdir(parents=True)
        (enabled / '__init__.py').touch()
        for file in (packages / PANELS.name / 'enabled').glob('_[0-9]*.py'):
            shutil.copy(file, enabled)


def environment() -> pathlib.Path:
    """Return the environment that Horizon is installed in."""
    configured = os.environ.get('ZAQAR_TEST_HORIZON_VENV')
    folder = pathlib.Path(configured).absolute() if configured else None
    folder = folder or _TOP / '.venv-horizon'
    if not (folder / 'installed').exists():
        process.missing('Horizon is not installed; run tools/horizon-venv')
    return folder


def program(name: str, *arguments: str) -> list[str]:
    """Return the command of one of our programs in Horizon's environment."""
    return [_python(), '-I', '-W', 'ignore', str(_PROGRAM), name, *arguments]


def _python() -> str:
    return str(environment() / 'bin' / 'python')
