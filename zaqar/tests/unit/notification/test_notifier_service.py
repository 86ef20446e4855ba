# SPDX-License-Identifier: Apache-2.0
"""How often counts are written; what a notifier needs and leaves."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from zaqar.errors import ConfigurationError
from zaqar.notification import notifier_service, sender_plugins
from zaqar.notification.settings import NotificationSettings


@pytest.mark.parametrize(
    ('spent', 'rest'),
    [(0.0, 1.0), (0.1, 1.0), (0.5, 5.0), (1.0, 10.0), (30.0, 10.0)],
)
def test_writing_counts_takes_a_tenth_of_the_time_and_does_not_end(
    spent: float, rest: float
) -> None:
    assert notifier_service.flush_pause(spent) == rest


def test_a_sender_that_cannot_be_loaded_refuses_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = importlib.metadata.EntryPoint(
        'http', 'zaqar.no_such_module:create', sender_plugins.ENTRY_POINTS
    )
    monkeypatch.setattr(
        importlib.metadata, 'entry_points', lambda group: [point]
    )
    with pytest.raises(ConfigurationError, match='the sender for http'):
        sender_plugins.senders(NotificationSettings())


def test_threads_that_hang_do_not_hold_up_the_end_of_a_process() -> None:
    program = (
        'import threading; '
        'from zaqar.daemon_threads import DaemonThreads; '
        'pool = DaemonThreads(2, "x"); '
        'pool.submit(threading.Event().wait); '
        'print(pool.submit(int, "7").result())'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == '7\n'
