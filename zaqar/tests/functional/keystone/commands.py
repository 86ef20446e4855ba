# SPDX-License-Identifier: Apache-2.0
"""The command line of OpenStack, as users run it."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zaqar.tests.functional.keystone import command_process
from zaqar.tests.functional.keystone.callers import Caller
from zaqar.tests.servers import process
from zaqar.tests.servers.keystone import DOMAIN, Keystone, User

_CLOUD = 'test'

#: How ``--debug`` shows a request and what came back.
_CALL = re.compile(r'(http://\S+) "([A-Z]+) (/v2\S*) HTTP/1\.1" (\d{3})')


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    :ivar code: 0 if it succeeded
    :ivar end: what it said last
    :ivar calls: what it asked the service, as ``GET /v2/queues 200``
    """

    code: int
    output: str
    end: str
    calls: list[str]

    def read(self) -> Any:
        """Return what it shows as JSON; fail if it failed."""
        assert self.code == 0, self.end
        return json.loads(self.output)


@dataclass(frozen=True)
class Shell:
    """Where a user types commands.

    :ivar clouds: the user's ``clouds.yaml``
    :ivar caller: the same user without commands
    """

    clouds: pathlib.Path
    caller: Caller

    def run(self, *words: str) -> Done:
        """Run ``openstack messaging`` with further words to its end."""
        folder = self.clouds.parent
        output, errors = folder / 'output', folder / 'errors'
        command = {
            'words': ['--debug', 'messaging', *words],
            'folder': str(folder),
            'environment': self._environment(),
            'output': str(output),
            'errors': str(errors),
        }
        code = _commands().run(command)
        said = errors.read_text()
        calls = [
            f'{method} {path} {status}'
            for origin, method, path, status in _CALL.findall(said)
            if origin == self.caller.origin
        ]
        return Done(code, output.read_text(), said[-2000:], calls)

    def show(self, *words: str) -> tuple[list[str], Any]:
        """Return what a command asks and what it shows."""
        done = self.run(*words, '-f', 'json')
        return done.calls, done.read()

    def do(self, *words: str) -> list[str]:
        """Return what a command asks that shows nothing."""
        done = self.run(*words)
        assert (done.code, done.output) == (0, ''), done.end
        return done.calls

    def fail(self, *words: str) -> list[str]:
        """Return what a command asks that does not succeed."""
        done = self.run(*words)
        assert done.code == 1, done.end
        return done.calls

    def _environment(self) -> dict[str, str]:
        """Return this one without the clouds of whoever runs the tests."""
        return {
            **_inherited(),
            'HOME': str(self.clouds.parent),
            'OS_CLIENT_CONFIG_FILE': str(self.clouds),
            'OS_CLOUD': _CLOUD,
        }


def sit_down(keystone: Keystone, caller: Caller, user: User) -> Shell:
    """Return the shell of a user, who is also a caller."""
    auth = {
        'auth_url': keystone.url,
        'username': user.name,
        'password': user.password,
        'user_domain_id': DOMAIN,
        'project_id': caller.project,
    }
    # JSON is YAML.
    text = json.dumps({'clouds': {_CLOUD: {'auth': auth}}})
    clouds = keystone.folder / f'{user.name}.yaml'
    clouds.write_text(text)
    return Shell(clouds, caller)


class _Commands:
    """A process that runs commands; it ends with its input."""

    def __init__(self) -> None:
        program = pathlib.Path(sys.executable).with_name('openstack')
        if not program.exists():
            process.missing('python-openstackclient is not installed')
        self._process = subprocess.Popen(
            [sys.executable, '-m', command_process.__name__],
            # Loading looks for clouds there.
            env={**_inherited(), 'HOME': os.devnull},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, command: Mapping[str, Any]) -> int:
        """Run a command to its end; return its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


@functools.cache
def _commands() -> _Commands:
    return _Commands()


def _inherited() -> dict[str, str]:
    """Return our environment without what is about clouds."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(('OS_', 'XDG_'))
    }
