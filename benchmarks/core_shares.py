# SPDX-License-Identifier: Apache-2.0
"""Control groups that give processes a share of a core, and no more.

A machine has too few cores for many workers and their clients beside them. If
each worker gets a small share, the rest of the machine is never the limit.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NamedTuple

#: Microseconds in which each process may use its share. A longer one lets a
#: process use it at once and hold a lock for the rest; with a shorter one, the
#: kernel takes too much of it for itself.
PERIOD = 20_000

#: How groups are named: for the process that made them, and by number.
_NAME = 'zaqar-bench-{}-{}'

#: Seconds until a group is given up whose processes do not end.
_PATIENCE = 5.0

_MOUNTS = pathlib.Path('/proc/self/mounts')


class UnavailableError(Exception):
    """No control groups can be made here."""


class Hierarchy(NamedTuple):
    """Where groups are made.

    :ivar version: 1 or 2 of control groups
    """

    folder: pathlib.Path
    version: int

    def limits(self, share: float) -> dict[str, str]:
        """Return what is written to which file of a group.

        :param share: of a core
        """
        quota = round(share * PERIOD)
        if self.version == 2:
            return {'cpu.max': f'{quota} {PERIOD}'}
        return {
            'cpu.cfs_period_us': f'{PERIOD}',
            'cpu.cfs_quota_us': f'{quota}',
        }


def hierarchy(mounts: str) -> Hierarchy:
    """Return where processor time can be limited.

    :param mounts: as in ``/proc/self/mounts``
    :raises UnavailableError: nowhere
    """
    for line in mounts.splitlines():
        _, folder, kind, options, *_ = line.split()
        path = pathlib.Path(folder)
        if kind == 'cgroup' and 'cpu' in options.split(','):
            return Hierarchy(path, 1)
        # Not every group of the second version passes the limit on.
        if kind == 'cgroup2' and 'cpu' in _passed_on(path):
            return Hierarchy(path, 2)
    raise UnavailableError('no control groups limit processor time here')


def _passed_on(group: pathlib.Path) -> Sequence[str]:
    with contextlib.suppress(OSError):
        return (group / 'cgroup.subtree_control').read_text().split()
    return ()


@contextlib.contextmanager
def limited(processes: Sequence[int], share: float) -> Iterator[None]:
    """Let each of some processes use at most a share of a core meanwhile.

    The groups go afterwards, also if the program is asked to end; those that a
    killed program has left go here.

    :raises UnavailableError: that cannot be done here
    """
    root = hierarchy(_MOUNTS.read_text())
    _sweep(root.folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ends_in_order())
        for number, process in enumerate(processes):
            # Several of these may be in force at a time.
            name = _NAME.format(os.getpid(), f'{process}-{number}')
            stack.enter_context(_group(root, name, process, share))
        yield


@contextlib.contextmanager
def _group(
    root: Hierarchy, name: str, process: int, share: float
) -> Iterator[None]:
    folder = root.folder / name
    try:
        folder.mkdir()
    except OSError as error:
        raise UnavailableError(
            f'no control groups can be made: {error}'
        ) from (error)
    try:
        for file, text in root.limits(share).items():
            (folder / file).write_text(text)
        (folder / 'cgroup.procs').write_text(f'{process}')
        yield
    finally:
        _remove(root.folder, folder)


def _remove(root: pathlib.Path, folder: pathlib.Path) -> None:
    """Let the processes of a group go, and remove it."""
    end = time.monotonic() + _PATIENCE
    while folder.exists():
        for process in (folder / 'cgroup.procs').read_text().split():
            # It may have ended.
            with contextlib.suppress(OSError):
                (root / 'cgroup.procs').write_text(process)
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _sweep(root: pathlib.Path) -> None:
    """Remove the groups of programs that have ended."""
    for folder in root.glob(_NAME.format('*', '*')):
        owner = folder.name.removeprefix(_NAME.format('', '')[:-1])
        if not pathlib.Path('/proc', owner.partition('-')[0]).exists():
            _remove(root, folder)


@contextlib.contextmanager
def _ends_in_order() -> Iterator[None]:
    """Let SIGTERM end this program as SIGINT does, with all it has to undo."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
