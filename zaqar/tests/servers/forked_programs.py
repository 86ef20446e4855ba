# SPDX-License-Identifier: Apache-2.0
"""A process that has loaded what programs load, and runs them.

Each program runs in a process forked from this one, as it would by itself
after the second that loading takes. A line of input is a program as JSON: its
``module``, ``words``, folder and environment, and files for what it prints. A
line of output is its exit code.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Seconds that a program may take.
PATIENCE = 60


class Programs:
    """A process that runs programs; it ends with its input.

    :param modules: what it loads beforehand
    :param environment: what it is started with
    """

    def __init__(
        self, modules: Iterable[str], environment: Mapping[str, str]
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-m', __name__, *modules],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        module: str,
        words: Sequence[str],
        folder: pathlib.Path,
        environment: Mapping[str, str],
    ) -> subprocess.CompletedProcess[str]:
        """Run a module of Python to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory(prefix='zaqar-test-') as place:
            files = {
                name: os.path.join(place, name) for name in ('out', 'err')
            }
            program = {
                'module': module,
                'words': list(words),
                'folder': str(folder),
                'environment': dict(environment),
                **files,
            }
            print(json.dumps(program), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
            out, err = (
                pathlib.Path(path).read_text(errors='replace')
                for path in files.values()
            )
        return subprocess.CompletedProcess([module, *words], code, out, err)


@functools.cache
def ours() -> Programs:
    """Return what runs our own programs."""
    modules = (
        *('zaqar.cmd.server', 'zaqar.cmd.sql_db_manage', 'zaqar.cmd.status'),
        *('zaqar.cmd.gc', 'zaqar.notification.notifier_service'),
        'zaqar.transport.websocket.server',
        'zaqar.storage.sqlalchemy.store_factory',
        'zaqar.storage.sqlalchemy.migrations',
    )
    return Programs(modules, os.environ)


def is_like_a_process_of_its_own() -> bool:
    """Tell whether nothing is about starting, or about several at once."""
    return (
        threading.current_thread() is threading.main_thread()
        and _of_python() == _AT_FIRST
    )


def _of_python() -> Mapping[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith('PYTHON')
    }


_AT_FIRST = _of_python()


def main(modules: Sequence[str]) -> None:
    """Run programs until the input ends."""
    for name in modules:
        importlib.import_module(name)
    for line in sys.stdin:
        program = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_run(program))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(program: Mapping[str, Any]) -> int:
    """Be the program; return its exit code."""
    code: Any = 0
    try:
        signal.alarm(PATIENCE)
        os.chdir(program['folder'])
        os.environ.clear()
        os.environ.update(program['environment'])
        for number, path in enumerate(
            (os.devnull, program['out'], program['err'])
        ):
            _replace(number, path)
        sys.argv = [program['module'], *program['words']]
        # It is run as a program, not imported.
        sys.modules.pop(program['module'], None)
        runpy.run_module(
            program['module'], run_name='__main__', alter_sys=True
        )
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return int(code or 0)


def _replace(number: int, path: str) -> None:
    opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.dup2(opened, number)
    os.close(opened)


if __name__ == '__main__':
    main(sys.argv[1:])
