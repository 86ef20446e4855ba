# SPDX-License-Identifier: Apache-2.0
"""The service itself, as an operator starts it."""

from __future__ import annotations

import configparser
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterable

import requests

from zaqar.tests.servers import forked_programs, process

_PYTHON = sys.executable

_CONF = """
[DEFAULT]
state_path = {folder}
{general}
[drivers:transport:wsgi]
port = {port}
workers = {workers}
[drivers:transport:websocket]
port = {socket_port}
{socket}
[pooling:catalog]
sqlite_path = {folder.parent}
{rest}
"""


class Zaqar:
    """A ``zaqar-server`` on a port of its own.

    :param folder: where its configuration, log and SQLite file are; SQLite
        files of pools may be beside it
    :param general: lines of ``[DEFAULT]``
    :param rest: the groups that follow
    :param socket: lines about the WebSocket server
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        general: str = '',
        rest: str = '',
        socket: str = '',
        workers: int = 1,
        port: int | None = None,
        socket_port: int | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or process.free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        self.socket_port = socket_port or process.free_port()
        self.socket_url = f'ws://127.0.0.1:{self.socket_port}'
        self.conf = folder / 'zaqar.conf'
        self.conf.write_text(
            _CONF.format(
                folder=folder,
                port=self.port,
                workers=workers,
                general=general,
                rest=rest,
                socket_port=self.socket_port,
                socket=socket,
            )
        )
        self.log = folder / 'log'

    def start(self) -> Zaqar:
        """Start it and wait until it answers."""
        self.process = process.Process(self.command(), self.log)
        self.process.wait_until(self.answers)
        return self

    def command(self, *more: str, program: str = 'server') -> list[str]:
        """Return what runs one of our programs on this configuration."""
        files = ['--config-file', str(self.conf)]
        return [_PYTHON, '-m', f'zaqar.cmd.{program}', *files, *more]

    def run(
        self, *more: str, program: str = 'server'
    ) -> subprocess.CompletedProcess[str]:
        """Run one of our programs to its end.

        One that leaves a daemon behind begins as the operator's would.
        """
        if (
            '--daemon' not in more
            and forked_programs.is_like_a_process_of_its_own()
        ):
            _, _, module, *words = self.command(*more, program=program)
            return forked_programs.ours().run(
                module, words, pathlib.Path.cwd(), os.environ
            )
        return subprocess.run(
            self.command(*more, program=program),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def answers(self) -> bool:
        """Tell whether the port answers HTTP."""
        try:
            return requests.get(self.url, timeout=30).status_code == 300
        except requests.RequestException:
            return False

    def workers(self) -> list[int]:
        """Return the processes that answer requests."""
        return children(self.process.child.pid)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        return self.process.stop(how, patience=70.0)


def module_at(tree: pathlib.Path, program: str) -> str:
    """Return the module of a program in another tree, which may be older.

    :param program: name of its module in this one
    """
    parser = configparser.RawConfigParser()
    parser.read(tree / 'setup.cfg')
    scripts = parser['entry_points']['console_scripts'].split()
    place = scripts[scripts.index('zaqar-' + program.replace('_', '-')) + 2]
    return place.partition(':')[0]


def with_database(url: str) -> str:
    """Return the group that names a database."""
    # oslo.config takes a dollar sign for a reference.
    shown = url.replace('$', '$$')
    return f'[drivers:management_store:sqlalchemy]\nuri = {shown}\n'


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    pids = []
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit() and _parent(entry) == pid:
            pids.append(int(entry.name))
    return sorted(pids)


def pause(pid: int) -> None:
    """Let a process and those that it has started hang."""
    # Itself first, so that it starts no others meanwhile.
    os.kill(pid, signal.SIGSTOP)
    _signal(children(pid), signal.SIGSTOP)


def resume(pid: int) -> None:
    """Let them go on."""
    _signal([*children(pid), pid], signal.SIGCONT)


def _signal(pids: Iterable[int], what: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    return os.path.exists(f'/proc/{pid}') and _state(pid) != 'Z'


def _stat(entry: pathlib.Path) -> list[str]:
    try:
        # What follows the name, which may hold blanks.
        return (entry / 'stat').read_text().rpartition(')')[2].split()
    except OSError:
        return []


def _parent(entry: pathlib.Path) -> int:
    fields = _stat(entry)
    return int(fields[1]) if fields and fields[0] != 'Z' else 0


def _state(pid: int) -> str:
    fields = _stat(pathlib.Path('/proc') / str(pid))
    return fields[0] if fields else 'Z'
