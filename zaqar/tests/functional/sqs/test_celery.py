# SPDX-License-Identifier: Apache-2.0
"""Celery with kombu's transport for Amazon SQS."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from zaqar.tests.servers.zaqar import Zaqar

_TASKS = 'zaqar.tests.functional.sqs.tasks'

_SENDER = f"""
from {_TASKS} import add, fail_once, hold
"""


@pytest.fixture
def environment(
    zaqar: Zaqar, project: str, tmp_path: pathlib.Path
) -> Mapping[str, str]:
    """The environment of workers and senders."""
    (tmp_path / 'told').touch()
    return {
        **os.environ,
        # kombu drops the path of the URL of a broker.
        'AWS_ENDPOINT_URL_SQS': f'{zaqar.url}/sqs',
        'AWS_ACCESS_KEY_ID': project,
        'AWS_SECRET_ACCESS_KEY': 'secret',
        'TOLD': str(tmp_path / 'told'),
    }


@pytest.fixture
def start(
    environment: Mapping[str, str], tmp_path: pathlib.Path
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """A function that starts a worker."""
    workers: list[subprocess.Popen[bytes]] = []

    def started() -> subprocess.Popen[bytes]:
        log = (tmp_path / 'log').open('ab')
        workers.append(
            subprocess.Popen(
                [
                    *(sys.executable, '-m', 'celery', '-A', _TASKS),
                    *('worker', '--pool', 'solo', '--without-mingle'),
                    *('--without-gossip', '--without-heartbeat'),
                ],
                env=environment,
                stdout=log,
                stderr=log,
            )
        )
        return workers[-1]

    yield started
    for worker in workers:
        worker.kill()
        worker.wait()


def _send(environment: Mapping[str, str], *calls: str) -> None:
    lines = '\n'.join(calls)
    subprocess.run(
        [sys.executable, '-c', f'{_SENDER}{lines}'],
        env=environment,
        check=True,
        timeout=60,
    )


def _wait(environment: Mapping[str, str], *texts: str) -> list[str]:
    """Wait until some lines are told; return all."""
    path = pathlib.Path(environment['TOLD'])
    end = time.monotonic() + 30
    while not set(texts) <= set(path.read_text().split()):
        assert time.monotonic() < end, path.with_name('log').read_text()
        time.sleep(0.05)
    return path.read_text().split()


def test_tasks_are_done_and_none_is_lost(
    environment: Mapping[str, str],
    start: Callable[[], subprocess.Popen[bytes]],
) -> None:
    worker = start()
    _send(
        environment,
        'add.delay(1, 2)',
        'add.apply_async((2, 3), countdown=1)',
        'fail_once.delay()',
    )
    _wait(environment, '3', '5', 'retried')
    _send(environment, 'hold.delay(60)')
    _wait(environment, 'begun')
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    start()
    told = _wait(environment, 'held')
    assert told.count('held') == 1
    assert told.count('begun') == 2
