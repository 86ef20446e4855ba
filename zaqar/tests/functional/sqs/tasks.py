# SPDX-License-Identifier: Apache-2.0
"""Tasks of Celery; each tells in a file what it has done."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

import celery

APP = celery.Celery('tasks', broker='sqs://')
APP.conf.update(
    broker_transport_options={
        'region': 'a-region',
        'visibility_timeout': 2,
        'wait_time_seconds': 2,
    },
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    task_ignore_result=True,
)


def tell(text: str) -> None:
    """Add a line to the file."""
    with pathlib.Path(os.environ['TOLD']).open('a') as file:
        file.write(f'{text}\n')


@APP.task
def add(a: int, b: int) -> None:
    """Tell a sum."""
    tell(f'{a + b}')


@APP.task(bind=True, max_retries=2)
def fail_once(self: Any) -> None:
    """Succeed at the second attempt."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    tell('retried')


@APP.task
def hold(seconds: float) -> None:
    """Take a while, at the first attempt."""
    path = pathlib.Path(os.environ['TOLD'])
    was_begun = 'begun' in path.read_text().split()
    tell('begun')
    if not was_begun:
        time.sleep(seconds)
    tell('held')
