# SPDX-License-Identifier: Apache-2.0
"""A service whose posts are delivered to webhooks, of any build."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import time
import uuid
from collections.abc import Iterator

import requests

from benchmarks import builds, notify_soak
from benchmarks.receiver import Receiver
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

_REST = """{database}
[drivers]
transport = wsgi
[notification]
allowed_networks = 127.0.0.0/8
embedded = False
"""

#: Seconds to wait for what has not come.
PATIENCE = 300.0

_CLIENT = str(uuid.uuid4())


class Receivers(list[Receiver]):
    """Some of them, counted together."""

    def count(self) -> int:
        """Return how many requests have come."""
        return sum(one.count() for one in self)

    def stop(self) -> None:
        """End all of them."""
        for one in self:
            one.stop()


class Build(builds.Server):
    """The service of a tree, without a notifier until that is started."""

    def notifier(self) -> process.Process:
        """Start a notifier."""
        log = self.folder / 'notifier.log'
        return self.begin(self.command(program='notifier'), log)


@contextlib.contextmanager
def running(store: str, more: str = '') -> Iterator[Build]:
    """Give a service that ends afterwards.

    :param more: further lines of ``[notification]``
    """
    with (
        notify_soak.configuration(store) as lines,
        tempfile.TemporaryDirectory(prefix='zaqar-notify-') as folder,
    ):
        rest = _REST.format(database=lines) + more
        server = Build(pathlib.Path(folder), rest=rest)
        notify_soak.prepare(server, lines)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def subscribe(
    server: Zaqar, url: str, queue: str = 'q', project: str = 'bench'
) -> None:
    """Subscribe a webhook to a queue."""
    answer = requests.post(
        f'{server.url}/v2/queues/{queue}/subscriptions',
        json={'subscriber': url, 'ttl': 86_400},
        headers=_headers(project),
        timeout=10,
    )
    assert answer.status_code == 201, answer.text


def post_all(
    server: Zaqar,
    posts: int,
    count: int,
    queue: str = 'q',
    project: str = 'bench',
) -> None:
    """Post messages, some at a time."""
    with requests.Session() as session:
        for number in range(posts):
            post(server, session, number, count, queue, project)


def post(
    server: Zaqar,
    session: requests.Session,
    number: int,
    count: int,
    queue: str = 'q',
    project: str = 'bench',
) -> None:
    """Post messages that hold the time and a number."""
    body = {'n': number, 'at': time.time()}
    answer = session.post(
        f'{server.url}/v2/queues/{queue}/messages',
        json={'messages': [{'body': body, 'ttl': 300}] * count},
        headers=_headers(project),
        timeout=30,
    )
    assert answer.status_code == 201, answer.text


def wait(receiver: Receiver | Receivers, count: int) -> float:
    """Return when as many requests had come."""
    end = time.monotonic() + PATIENCE
    while (came := receiver.count()) < count:
        assert time.monotonic() < end, f'{came} of {count} have come'
        time.sleep(0.02)
    return time.monotonic()


def _headers(project: str) -> dict[str, str]:
    return {'Client-ID': _CLIENT, 'X-Project-Id': project}
