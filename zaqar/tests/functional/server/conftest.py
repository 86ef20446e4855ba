# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pathlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.tests.servers.zaqar import Zaqar

MakeServer = Callable[..., Zaqar]

#: So that children are API workers.
_HTTP_ALONE = """
[drivers]
transport = wsgi
[notification]
embedded = False
"""


@pytest.fixture
def make_server(tmp_path: pathlib.Path) -> Iterator[MakeServer]:
    """A function that prepares servers; those started end with the test."""
    servers: list[Zaqar] = []

    def make(**settings: Any) -> Zaqar:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        settings['rest'] = f'{_HTTP_ALONE}{settings.get("rest", "")}'
        servers.append(Zaqar(folder, **settings))
        return servers[-1]

    yield make
    for server in servers:
        if hasattr(server, 'process'):
            server.stop(signal.SIGKILL)
