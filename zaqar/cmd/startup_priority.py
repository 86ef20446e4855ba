# SPDX-License-Identifier: Apache-2.0
"""Low priority for a process that is loading, while others serve.

Linux lets a process lower its priority at any time, but raise it again only
with CAP_SYS_NICE or a limit that allows it (``LimitNICE=+0`` in a unit of
systemd). Without either the priority stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import threading

#: The nice value of a process that is loading; the kernel's lowest priority.
_LOADING = 19

#: Seconds after which a process has its usual priority even if it is still
#: loading: while others need all processors it would never be ready.
PATIENCE = 10.0

#: The threads of this process.
_THREADS = '/proc/self/task'


def lower() -> int | None:
    """Give way to other processes; return the nice value to restore.

    Called before the process starts threads.

    :returns: None if nothing was changed, since it could not be undone
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if not (os.path.isdir(_THREADS) and _can_return_to(before)):
        return None
    timer = threading.Timer(PATIENCE, restore, (before,))
    timer.daemon = True
    timer.start()
    os.setpriority(os.PRIO_PROCESS, 0, _LOADING)
    return before


def restore(before: int) -> None:
    """Undo :func:`lower`, for threads that were started since then too."""
    # A thread that is not yet restored may start another one meanwhile.
    while any(
        _restore(int(thread), before) for thread in os.listdir(_THREADS)
    ):
        pass


def _restore(thread: int, before: int) -> bool:
    """Return whether this changed anything."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpriority(os.PRIO_PROCESS, thread) != before:
            os.setpriority(os.PRIO_PROCESS, thread, before)
            return True
    return False


def _can_return_to(before: int) -> bool:
    """Try it in a thread, since on Linux each has a priority of its own."""
    can_return = []

    def attempt() -> None:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, _LOADING)
            os.setpriority(os.PRIO_PROCESS, 0, before)
            can_return.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(can_return)
