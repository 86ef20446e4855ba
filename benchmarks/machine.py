# SPDX-License-Identifier: Apache-2.0
"""Facts about the machine: cores, disk, load."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping

#: Packages whose versions move the figures.
PACKAGES = (
    'pecan',
    'msgspec',
    'SQLAlchemy',
    'psycopg',
    'PyMySQL',
    'redis',
)

#: Writes of which the middle one is shown.
SYNCS = 50

_PROC = pathlib.Path('/proc')


def cores() -> tuple[int, int] | None:
    """Return the core for the server and that for the client.

    :returns: None on a machine with one core, where all share it
    """
    numbers = sorted(os.sched_getaffinity(0))
    return (numbers[0], numbers[1]) if len(numbers) > 1 else None


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Keep this thread, and processes started meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(*pids: int) -> float:
    """Return the processor time that processes have used, all threads."""
    # The number of the clock of another process, as clock_getcpuclockid(3)
    # makes it; Python has no name for it.
    return sum((time.clock_gettime((~pid << 3) | 2) for pid in pids), 0.0)


def busy() -> float:
    """Return the processor time that all have used since the start.

    That includes what the hosts of virtual machines gave to others.
    """
    line = (_PROC / 'stat').read_text().partition('\n')[0]
    # user, nice, system, idle, waiting for a disk, interrupts of two kinds,
    # stolen
    user, nice, system, _, _, *rest = map(int, line.split()[1:9])
    ticks = user + nice + system + sum(rest)
    return ticks / os.sysconf('SC_CLK_TCK')


def rss(pid: int) -> int:
    """Return the bytes of memory that a process holds, 0 if it is gone."""
    with contextlib.suppress(OSError, IndexError):
        pages = (_PROC / str(pid) / 'statm').read_text().split()[1]
        return int(pages) * os.sysconf('SC_PAGE_SIZE')
    return 0


def pss(pid: int) -> int:
    """Return those bytes, with its part of what it shares with others."""
    text = (_PROC / str(pid) / 'smaps_rollup').read_text()
    (line,) = (one for one in text.splitlines() if one.startswith('Pss:'))
    return int(line.split()[1]) * 1024


def load() -> str:
    """Return the load averages as text."""
    return ', '.join(f'{value:.2f}' for value in os.getloadavg())


def description(against: pathlib.Path | None = None) -> Mapping[str, str]:
    """Return what a reader must know of this machine, by heading.

    :param against: the tree of the other build, if one is measured
    """
    folder = tempfile.gettempdir()
    versions = [f'{name} {_version(name)}' for name in PACKAGES]
    return {
        'Date': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()),
        'Processor': f'{_cpu_model()}, {os.cpu_count()} cores',
        'Memory': f'{_memory() / 2**30:.0f} GiB',
        'System': f'{platform.system()} {platform.release()}',
        'Disk': f'{_filesystem(folder)}, 4 KiB written and synced in '
        f'{_sync_ms(folder):.2f} ms (median)',
        'Software': f'Python {platform.python_version()}, '
        + ', '.join(versions),
        'Commit': commit(pathlib.Path(__file__).parent),
        **({} if against is None else {'Against': commit(against)}),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return '(none)'


def _cpu_model() -> str:
    for line in (_PROC / 'cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return platform.machine()


def _memory() -> int:
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


def _filesystem(folder: str) -> str:
    """Return the kind of file system of a folder; on tmpfs nothing syncs."""
    path = os.path.realpath(folder)
    best, kind = '', 'unknown'
    for line in (_PROC / 'mounts').read_text().splitlines():
        mount, file_system = line.split()[1:3]
        inside = os.path.commonpath((path, mount)) == mount
        if inside and len(mount) >= len(best):
            best, kind = mount, file_system
    return kind


def _sync_ms(folder: str) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(SYNCS):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def commit(folder: pathlib.Path) -> str:
    """Return the commit of a tree, and whether that is changed."""
    command = ('git', 'describe', '--always', '--dirty', '--abbrev=12')
    with contextlib.suppress(OSError):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or '(none)'
    return '(none)'
