# SPDX-License-Identifier: Apache-2.0
"""Child processes that serve tests and never outlive them."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import pathlib
import pwd
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, NoReturn

import pytest

#: Seconds a server may take to answer.
PATIENCE = 120.0

#: The ports that servers of tests listen on: below those that Linux gives to
#: connections, one of which could take the port before the server does.
FIRST_PORT = 15_000
FIRST_EPHEMERAL_PORT = 32_768

#: Ports that this process has given out.
_given: set[int] = set()

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def missing(reason: str) -> NoReturn:
    """End a test for want of a server: a failure in CI, a skip at home."""
    if os.environ.get('CI'):
        pytest.fail(f'A server is missing: {reason}')
    pytest.skip(reason)


def free_port(below: int = FIRST_EPHEMERAL_PORT) -> int:
    """Return a port of 127.0.0.1 that is free and that no connection gets.

    Neither this process nor tests that run beside it give it out again.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(below - FIRST_PORT)
        if take_port(port):
            return port


def take_port(port: int) -> bool:
    """Keep a port for this process, if it is free; tell whether it was."""
    if port in _given or not _is_free(port):
        return False
    try:
        # The system takes the lock away when this process ends.
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    return True


@functools.cache
def _locks() -> BinaryIO:
    """Return a file with a byte for each port, which processes lock."""
    folder = pathlib.Path(tempfile.gettempdir())
    return (folder / f'zaqar-test-ports-{os.geteuid()}').open('ab')


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
        return True


def accepts(port: int) -> bool:
    """Tell whether something listens on a port of 127.0.0.1."""
    with contextlib.suppress(OSError):
        socket.create_connection(('127.0.0.1', port), 1).close()
        return True
    return False


def unprivileged(*names: str) -> pwd.struct_passwd | None:
    """Return whom servers run as that refuse root; None if we are not."""
    if os.geteuid() != 0:
        return None
    for name in (*names, 'nobody'):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


class Process:
    """A running server.

    :param log: file that takes its output
    :param user: whom to run it as, None for ourselves
    """

    def __init__(
        self,
        command: Sequence[str],
        log: pathlib.Path,
        *,
        user: pwd.struct_passwd | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self._command = command
        with log.open('ab') as output:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else {**os.environ, **env},
                preexec_fn=lambda: _prepare(user),
            )

    def wait_until(
        self, ready: Callable[[], bool], patience: float = PATIENCE
    ) -> None:
        """Return when the server is ready.

        :raises RuntimeError: it ended or is not ready in time; the text
            holds the end of its log
        """
        end = time.monotonic() + patience
        while not ready():
            ended = self.child.poll() is not None
            if ended or time.monotonic() > end:
                self.stop()
                tail = self.log.read_text(errors='replace')[-2000:]
                state = 'ended' if ended else 'is not ready'
                raise RuntimeError(f'{self._command[0]} {state}:\n{tail}')
            time.sleep(0.02)

    def stop(
        self, how: signal.Signals = signal.SIGTERM, patience: float = 20.0
    ) -> int:
        """End the server and return its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(how)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait()


def _prepare(user: pwd.struct_passwd | None) -> None:
    if user is not None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    # Whatever ends the tests ends the server. After setuid, which clears it.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
