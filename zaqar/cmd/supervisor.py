# SPDX-License-Identifier: Apache-2.0
"""A supervisor that restarts its child processes.

One thread and no locks, hence safe to fork at any time. (cotyledon was
weighed: it leaves the terminal's session, so that Ctrl-C under ``make`` never
arrives, ends at once on it, and waits five seconds after the second death.)
"""

import collections
import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zaqar import log_writer_thread
from zaqar.cmd import cpu_priority, listening_socket_closing

LOG = logging.getLogger(__name__)

#: Seconds before a child that died is restarted: the first if it had run for
#: :data:`SETTLED`, then the next one each time.
PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)

#: Seconds after which a child counts as stable.
SETTLED = 10.0

#: Seconds for children to finish requests in progress.
PATIENCE = 60.0

#: Seconds for a successor to become ready.
UNREADY = 60.0

#: Seconds between two replacements: the end of one process and the start of
#: the next would together take the processors from those that serve.
_BETWEEN = 0.5

#: Seconds between two checks whether it is.
_CHECK_INTERVAL = 0.05

#: Seconds after which connections are refused at shutdown.
_SETTLED = 0.6

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_WATCHED = (*_STOPPING, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2)

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


Ready = Callable[[], None]


@dataclass
class Child:
    """A process to keep alive.

    :ivar work: runs in it; calls what it is given once it does what it is
        there for; SIGTERM asks it to return
    :ivar listener: where it accepts connections, if it does
    :ivar retire: tells it that its successor is ready
    :ivar pid: 0 while there is none
    :ivar due: when to start it, by the monotonic clock
    """

    name: str
    work: Callable[[Ready], None]
    listener: socket.socket | None = None
    retire: signal.Signals = signal.SIGTERM
    pid: int = 0
    born: float = 0.0
    due: float = 0.0
    deaths: int = 0
    leaving: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Successor:
    """A process that is to take the place of a child's.

    :ivar signal: reads as soon as it is ready
    :ivar end: when it must be, by the monotonic clock
    """

    child: Child
    pid: int
    signal: int
    end: float


class Supervisor:
    """Starts children, and restarts those that die.

    SIGTERM and SIGINT stop all of them. SIGHUP replaces one child after
    another by a new one, which reloads the configuration; the old one works
    until the new one is ready.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._to_replace: collections.deque[Child] = collections.deque()
        self._successor: Successor | None = None
        self._replace_at = 0.0

    def run(self) -> int:
        """Supervise until a signal to stop; return the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._start_due()
        while True:
            received = signal.sigtimedwait(_WATCHED, self._next_due())
            number = received.si_signo if received else 0
            if number in _STOPPING:
                return self._stop(signal.Signals(number).name)
            if number == signal.SIGHUP:
                LOG.info('Replacing all processes on SIGHUP')
                self._to_replace = collections.deque(self._children)
            if number == signal.SIGUSR2:
                self._request_reports()
            self._reap()
            self._continue_replacing()
            self._start_due()

    def _start_due(self) -> None:
        for child in self._children:
            if not child.pid and child.due <= time.monotonic():
                child.pid = self._start(child)
                child.born = time.monotonic()

    def _next_due(self) -> float:
        waits = [
            child.due - time.monotonic()
            for child in self._children
            if not child.pid
        ]
        if self._successor is not None or self._to_replace:
            waits.append(_CHECK_INTERVAL)
        return max(0.0, min(waits, default=3600.0))

    def _start(self, child: Child, signal_end: int | None = None) -> int:
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            _live(child, parent, signal_end)
        LOG.info('Started %s as process %d', child.name, pid)
        return pid

    def _continue_replacing(self) -> None:
        """Put a ready successor in its place, and start the next."""
        if (successor := self._successor) is not None:
            if _is_ready(successor):
                self._succeed(successor)
            elif time.monotonic() > successor.end:
                _send(successor.pid, signal.SIGKILL)
        if self._may_replace():
            child = self._to_replace.popleft()
            reading, writing = os.pipe()
            pid = self._start(child, writing)
            os.close(writing)
            self._successor = Successor(
                child, pid, reading, time.monotonic() + UNREADY
            )

    def _may_replace(self) -> bool:
        is_free = self._successor is None and bool(self._to_replace)
        return is_free and time.monotonic() >= self._replace_at

    def _succeed(self, successor: Successor) -> None:
        child = successor.child
        if child.pid:
            child.leaving.add(child.pid)
            _send(child.pid, child.retire)
        child.pid, child.deaths = successor.pid, 0
        child.born = time.monotonic()
        self._replace_at = child.born + _BETWEEN
        self._close_successor()

    def _close_successor(self) -> None:
        if self._successor is not None:
            os.close(self._successor.signal)
            self._successor = None

    def _abort_replacing(self, status: int) -> None:
        """Keep the current processes, since a successor has ended."""
        if (failed := self._successor) is not None:
            LOG.error(
                'The new %s (process %d) ended before it was ready: %s; '
                'processes that were not replaced yet keep running',
                failed.child.name,
                failed.pid,
                _cause(status),
            )
        self._to_replace.clear()
        self._close_successor()

    def _request_reports(self) -> None:
        for child in self._children:
            if child.pid:
                _send(child.pid, signal.SIGUSR2)

    def _reap(self) -> None:
        while ended := _ended_child():
            pid, status = ended
            if self._successor is not None and pid == self._successor.pid:
                self._abort_replacing(status)
            for child in self._children:
                child.leaving.discard(pid)
                if child.pid == pid:
                    self._schedule_restart(child, status)

    def _schedule_restart(self, child: Child, status: int) -> None:
        if time.monotonic() - child.born >= SETTLED:
            child.deaths = 0
        pause = PAUSES[min(child.deaths, len(PAUSES) - 1)]
        LOG.error(
            '%s (process %d) ended: %s; restarting in %.1f s',
            child.name,
            child.pid,
            _cause(status),
            pause,
        )
        child.pid = 0
        child.deaths += 1
        child.due = time.monotonic() + pause

    def _stop(self, reason: str) -> int:
        LOG.info('Stopping on %s', reason)
        listeners = {c.listener for c in self._children if c.listener}
        listening_socket_closing.drop_new_connections(listeners)
        left = {child.pid for child in self._children if child.pid}
        left = left.union(*(child.leaving for child in self._children))
        if self._successor is not None:
            left.add(self._successor.pid)
        for pid in left:
            _send(pid, signal.SIGTERM)
        begun = time.monotonic()
        while left and time.monotonic() < begun + PATIENCE:
            while ended := _ended_child():
                left.discard(ended[0])
            if left:
                signal.sigtimedwait((signal.SIGCHLD,), 0.2)
            if listeners and time.monotonic() > begun + _SETTLED:
                # Requests in progress may take long; others need not wait.
                listening_socket_closing.refuse(listeners)
                listeners.clear()
        for pid in left:
            LOG.warning('Process %d does not end and is killed', pid)
            _send(pid, signal.SIGKILL)
        LOG.info('Stopped')
        return 0


def _live(child: Child, parent: int, signal_end: int | None) -> None:
    """Run the child, then exit without the parent's clean-up.

    :param signal_end: takes a byte when the child is ready
    """
    code = 1

    def ready() -> None:
        if signal_end is not None:
            os.write(signal_end, b'1')

    try:
        # Whatever ends the parent ends us, in good order.
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        for number in _WATCHED:
            signal.signal(number, signal.SIG_DFL)
        # Until it can report; the default would end it.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        # Ctrl-C reaches all of the terminal's processes; the parent decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        if signal_end is not None:
            # The predecessor still serves, and needs the processor.
            cpu_priority.lower()
        if os.getppid() == parent:
            child.work(ready)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        LOG.exception('%s failed', child.name)
    finally:
        log_writer_thread.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        cpu_priority.give_way()
        os._exit(code)


def _is_ready(successor: Successor) -> bool:
    readable, _, _ = select.select([successor.signal], [], [], 0)
    # A process that ends makes its pipe readable, too.
    return bool(readable) and os.read(successor.signal, 1) != b''


def _ended_child() -> tuple[int, int] | None:
    """Return the id and status of an ended child, or None."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _cause(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f'exit code {os.waitstatus_to_exitcode(status)}'


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
