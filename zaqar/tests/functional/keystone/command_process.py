# SPDX-License-Identifier: Apache-2.0
"""A process that has loaded the command line of OpenStack, and runs commands.

Each command runs in a process forked from this one, as it would by itself
after the seconds that loading takes. A line of input is a command as JSON: its
``words``, its folder and environment, and the files for what it prints. A line
of output is its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

#: What any command of ours loads.
MODULES = ('openstack', 'zaqarclient.queues.v2.cli', 'zaqarclient.queues.cli')

#: Seconds that a command may take.
PATIENCE = 60


def main() -> None:
    """Run commands until the input ends."""
    shell = importlib.import_module('openstackclient.shell')
    for name in MODULES:
        importlib.import_module(name)
    # It looks for commands in all packages, and remembers them.
    shell.OpenStackShell()
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_run(shell, command))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(shell: Any, command: Mapping[str, Any]) -> int:
    """Be the command; return its exit code."""
    signal.alarm(PATIENCE)
    os.chdir(command['folder'])
    os.environ.clear()
    os.environ.update(command['environment'])
    for number, path in ((0, os.devnull), (1, command['output'])):
        _replace(number, path)
    _replace(2, command['errors'])
    sys.argv = ['openstack', *command['words']]
    try:
        code = shell.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


def _replace(number: int, path: str) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    opened = os.open(path, flags, 0o600)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == '__main__':
    main()
