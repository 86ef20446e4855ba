# SPDX-License-Identifier: Apache-2.0
"""Kills processes of a server at random."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import random
import signal
import time
from collections.abc import Callable

from zaqar.tests.servers.zaqar import Zaqar, is_alive

#: Seconds that workers have for ending by themselves, and for coming back.
PATIENCE = 60.0

WORKER, SEVERAL, SUPERVISOR = 'worker', 'several workers', 'supervisor'
KINDS = (WORKER, SEVERAL, SUPERVISOR)


class Killer:
    """Kills with SIGKILL.

    :ivar count: strikes by kind
    :ivar faults: what survived that should not have
    :ivar slowest: seconds until the workers of a dead supervisor were gone
    """

    def __init__(self, server: Zaqar, dice: random.Random) -> None:
        self.count: collections.Counter[str] = collections.Counter()
        self.faults: list[str] = []
        self.slowest = 0.0
        self._server = server
        self._dice = dice

    def strike(self, kind: str) -> None:
        """Kill what the kind says; start again what does not by itself."""
        if kind == SUPERVISOR:
            self._behead()
        else:
            workers = self._workers()
            several = self._dice.randint(min(2, len(workers)), len(workers))
            chosen = self._dice.sample(
                workers, several if kind == SEVERAL else 1
            )
            for pid in chosen:
                _kill(pid)
        self.count[kind] += 1

    def _workers(self) -> list[int]:
        """Return the workers; there are none for a moment after a strike.

        :raises RuntimeError: they do not come back
        """
        pids: list[int] = []

        def some() -> bool:
            pids[:] = self._server.workers()
            return bool(pids)

        if not _until(some):
            raise RuntimeError('the workers do not come back')
        return pids

    def _behead(self) -> None:
        self._server.stop(signal.SIGKILL)
        begin = time.monotonic()
        if not _until(lambda: not self._orphans()):
            left = self._orphans()
            self.faults.append(
                f'{len(left)} workers outlive their supervisor by '
                f'{PATIENCE:.0f} s'
            )
            for pid in left:
                _kill(pid)
            _until(lambda: not self._orphans())
        self.slowest = max(self.slowest, time.monotonic() - begin)
        self._server.start()

    def _orphans(self) -> list[int]:
        """Return the processes that work by the server's configuration.

        They have lost their parent, so their command line identifies them.
        """
        sign = str(self._server.conf).encode()
        return [
            int(entry.name)
            for entry in pathlib.Path('/proc').iterdir()
            if entry.name.isdigit()
            and sign in _command_line(entry)
            and is_alive(int(entry.name))
        ]


def _command_line(entry: pathlib.Path) -> bytes:
    with contextlib.suppress(OSError):
        return (entry / 'cmdline').read_bytes()
    return b''


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
