# SPDX-License-Identifier: Apache-2.0
"""Writing of the log by a thread of its own.

A full pipe, a full disk or a syslog that hangs blocks whoever writes there. In
the thread of an event loop that would be all requests. Hence processes that
serve only format their entries, with what they show of the request, and one
thread writes them in their order. What it has no time for is limited; beyond
that entries are dropped, and it says how many.
"""

import collections
import contextlib
import copy
import logging
import threading
from collections.abc import Iterator, Sequence

LOG = logging.getLogger(__name__)

#: Bytes of entries that wait to be written, at most: some 50,000 of them.
MOST = 8 * 1024 * 1024

#: Bytes that an entry takes besides its text.
OVERHEAD = 1024

#: Seconds that the end of a process waits for entries to be written.
PATIENCE = 2.0


class LogWriter:
    """Writes entries by handlers, in a thread of its own.

    :param handlers: what says that entries were dropped
    """

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        self._handlers = handlers
        # Entered again where an entry is made by what interrupts this.
        self._changed = threading.Condition(threading.RLock())
        self._entries: collections.deque[
            tuple[logging.Handler, logging.LogRecord, int]
        ] = collections.deque()
        self._held = self._dropped = 0
        self._is_writing = False
        threading.Thread(target=self._run, name='log', daemon=True).start()

    def put(
        self, handler: logging.Handler, record: logging.LogRecord, size: int
    ) -> None:
        """Have an entry written.

        :param size: bytes of its text
        """
        size += OVERHEAD
        with self._changed:
            if self._held + size > MOST:
                self._dropped += 1
                return
            self._held += size
            self._entries.append((handler, record, size))
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all is written; tell whether it was in time."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, seconds)

    def _is_idle(self) -> bool:
        return not self._entries and not self._is_writing

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._entries)
                self._is_writing = True
                handler, record, size = self._entries.popleft()
                self._held -= size
                dropped = 0
                if self._held <= MOST // 2:
                    dropped, self._dropped = self._dropped, 0
            # Nothing ends the thread: all later entries would be lost.
            with contextlib.suppress(Exception):
                _write(handler, record)
                if dropped:
                    self._report(dropped)

    def _report(self, dropped: int) -> None:
        record = LOG.makeRecord(
            LOG.name,
            logging.WARNING,
            __file__,
            0,
            '%d log entries were dropped, since they could not be written as '
            'fast as they came',
            (dropped,),
            None,
        )
        for handler in self._handlers:
            if record.levelno >= handler.level and handler.filter(record):
                _write(handler, record)


class QueuedHandler(logging.Handler):
    """Formats entries at once, and has handlers write them later."""

    def __init__(
        self, writer: LogWriter, handlers: Sequence[logging.Handler]
    ) -> None:
        super().__init__()
        self._writer = writer
        self._targets = handlers
        for handler in handlers:
            if not isinstance(handler.formatter, _Formatted):
                handler.setFormatter(_Formatted(handler.formatter))

    def handle(self, record: logging.LogRecord) -> bool:
        if not self.filter(record):
            return False
        self.acquire()
        try:
            entries = [*self._formatted(record)]
        finally:
            self.release()
        # Without the lock. What the thread that writes collects as garbage may
        # log, hence want it, while all others wait for that thread.
        for handler, entry, size in entries:
            self._writer.put(handler, entry, size)
        return True

    def _formatted(
        self, record: logging.LogRecord
    ) -> Iterator[tuple[logging.Handler, logging.LogRecord, int]]:
        for handler in self._targets:
            if record.levelno >= handler.level and handler.filter(record):
                try:
                    text = handler.format(record)
                except Exception:
                    handler.handleError(record)
                else:
                    entry = _without_references(record)
                    entry.__dict__[_TEXT] = text
                    yield handler, entry, len(text)


#: The attribute of an entry that has its text.
_TEXT = 'zaqar_text'


class _Formatted(logging.Formatter):
    """Returns the text that an entry has got before, if it has one."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        text: str | None = record.__dict__.get(_TEXT)
        return self._formatter.format(record) if text is None else text


def _without_references(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy that holds nothing of a request."""
    entry = copy.copy(record)
    entry.msg, entry.args = record.getMessage(), None
    # As text it has been added by the formatter.
    entry.exc_info = None
    return entry


def _write(handler: logging.Handler, record: logging.LogRecord) -> None:
    handler.acquire()
    try:
        handler.emit(record)
    except Exception:
        handler.handleError(record)
    finally:
        handler.release()


_writer: LogWriter | None = None


def start() -> None:
    """Have the entries of this process written by a thread from now on.

    To be called once it has forked, and logging is set up.
    """
    global _writer
    root = logging.getLogger()
    _writer = LogWriter([*root.handlers])
    loggers = [*root.manager.loggerDict.values()]
    for logger in [root, *loggers]:
        if isinstance(logger, logging.Logger):
            own = [
                handler
                for handler in logger.handlers
                if not isinstance(handler, logging.NullHandler)
            ]
            if own:
                logger.handlers[:] = [QueuedHandler(_writer, own)]


def flush(seconds: float = PATIENCE) -> None:
    """Wait for what was logged to be written, before the process ends."""
    if _writer is not None:
        _writer.flush(seconds)
