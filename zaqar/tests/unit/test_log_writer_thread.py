# SPDX-License-Identifier: Apache-2.0
"""Entries of the log that a thread writes."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from oslo_config import cfg
from oslo_context import context
from oslo_log import formatters

from zaqar import log_writer_thread, logging_setup
from zaqar.log_writer_thread import LogWriter, QueuedHandler

#: Seconds in which entries are written, by far.
SOON = 60.0


class Slow(logging.Handler):
    """A handler that hangs until it is let go.

    :ivar written: the entries, as text
    """

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.records: list[logging.LogRecord] = []
        self.let_go = threading.Event()
        self.is_called = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.is_called.set()
        self.let_go.wait(SOON)
        self.written.append(self.format(record))
        self.records.append(record)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def writer(slow: Slow) -> LogWriter:
    return LogWriter([slow])


@pytest.fixture
def log(slow: Slow, writer: LogWriter) -> Iterator[logging.Logger]:
    """What is written by the handler."""
    log = logging.getLogger('zaqar.tests.log')
    log.propagate = False
    log.setLevel(logging.INFO)
    handler = QueuedHandler(writer, [slow])
    log.addHandler(handler)
    yield log
    slow.let_go.set()
    log.removeHandler(handler)
    log.propagate = True


def test_who_logs_does_not_wait_and_the_order_is_that_of_the_entries(
    log: logging.Logger, slow: Slow, writer: LogWriter
) -> None:
    for number in range(100):
        log.info('%d', number)
    assert slow.written == []
    assert not writer.flush(0)
    slow.let_go.set()
    assert writer.flush(SOON)
    assert slow.written == [str(number) for number in range(100)]


def test_an_entry_shows_what_was_when_it_was_made(
    log: logging.Logger, slow: Slow, writer: LogWriter
) -> None:
    conf = cfg.ConfigOpts()
    logging_setup.register_options(conf)
    conf([])
    slow.setFormatter(formatters.ContextFormatter(config=conf))
    log.removeHandler(log.handlers[0])
    log.addHandler(QueuedHandler(writer, [slow]))
    listed = [1]
    first = context.RequestContext().request_id
    log.info('%s', listed)
    second = context.RequestContext().request_id
    listed.append(2)
    try:
        raise RuntimeError('so it is')
    except RuntimeError:
        log.exception('%s', listed)
    slow.let_go.set()
    assert writer.flush(SOON)
    one, other = slow.written
    assert f' {first} ' in one
    assert one.endswith('[1]')
    assert f' {second} ' in other
    assert '[1, 2]' in other
    assert 'RuntimeError: so it is' in other
    # Frames hold bodies of requests.
    assert slow.records[1].exc_info is None


def test_what_is_dropped_is_counted(
    log: logging.Logger,
    slow: Slow,
    writer: LogWriter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        log_writer_thread, 'MOST', 4 * (log_writer_thread.OVERHEAD + 1)
    )
    log.info('0')
    assert slow.is_called.wait(SOON)
    for number in range(1, 10):
        log.info('%d', number)
    slow.let_go.set()
    assert writer.flush(SOON)
    said = [text for text in slow.written if len(text) > 1]
    assert [text for text in slow.written if len(text) == 1] == [*'01234']
    assert len(said) == 1
    assert said[0].startswith('5 log entries were dropped')


def test_a_handler_that_fails_is_no_end(
    log: logging.Logger, slow: Slow, writer: LogWriter
) -> None:
    failing = slow.let_go
    slow.let_go = None  # type: ignore[assignment]
    errors: list[object] = []
    slow.handleError = lambda _: errors.append(  # type: ignore[method-assign]
        sys.exc_info()[0]
    )
    log.info('lost')
    assert writer.flush(SOON)
    slow.let_go = failing
    failing.set()
    log.info('written')
    assert writer.flush(SOON)
    assert slow.written == ['written']
    assert errors == [AttributeError]
