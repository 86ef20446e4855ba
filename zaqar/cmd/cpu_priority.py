# SPDX-License-Identifier: Apache-2.0
"""Low CPU priority for a process that starts or ends, while others serve.

It has the scheduling policy ``SCHED_IDLE``. A nice value would not do: since
Linux 6.6 even a process with the lowest one finishes its time slice of a few
milliseconds when another wakes up, and a request wakes several threads.

Linux lets a process lower its priority at any time, but raise it again only
with CAP_SYS_NICE or a limit that allows it (``LimitNICE=+0`` in a unit of
systemd). Without either the priority stays as it is.
"""

import contextlib
import os
import threading

_NO_PRIORITY = os.sched_param(0)

#: The policy of this process while it is lowered.
_before: int | None = None

#: Seconds after which a process has its usual priority even if it is still
#: loading: while others need all processors it would never be ready.
PATIENCE = 2.0

#: The threads of this process.
_THREADS = '/proc/self/task'


def lower() -> bool:
    """Give way to other processes until :func:`restore` or a time limit.

    It holds for the thread that calls this, and for those that it starts.

    :returns: False if nothing was changed, since it could not be undone
    """
    global _before
    before = os.sched_getscheduler(0)
    if not (os.path.isdir(_THREADS) and _can_return_to(before)):
        return False
    _before = before
    timer = threading.Timer(PATIENCE, restore)
    timer.daemon = True
    timer.start()
    os.sched_setscheduler(0, os.SCHED_IDLE, _NO_PRIORITY)
    return True


def give_way() -> None:
    """Have all threads of this process wait for other processes, for good.

    To free the memory of a process takes milliseconds, at its end.
    """
    with contextlib.suppress(OSError):
        # The main thread, which does this, is the oldest: last.
        for thread in sorted(map(int, os.listdir(_THREADS)), reverse=True):
            os.sched_setscheduler(thread, os.SCHED_IDLE, _NO_PRIORITY)


def restore() -> None:
    """Undo :func:`lower`, for threads that were started since then too."""
    global _before
    before, _before = _before, None
    if before is None:
        return
    # A thread that is not yet restored may start another one meanwhile.
    while any(
        _restore(int(thread), before) for thread in os.listdir(_THREADS)
    ):
        pass


def _restore(thread: int, before: int) -> bool:
    """Return whether this changed anything."""
    with contextlib.suppress(ProcessLookupError):
        if os.sched_getscheduler(thread) != before:
            os.sched_setscheduler(thread, before, _NO_PRIORITY)
            return True
    return False


def _can_return_to(before: int) -> bool:
    """Try it in a thread, since on Linux each has a policy of its own."""
    can_return = []

    def attempt() -> None:
        # A real-time policy needs a priority: not one that we return to.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, _NO_PRIORITY)
            os.sched_setscheduler(0, before, _NO_PRIORITY)
            can_return.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(can_return)
