# SPDX-License-Identifier: Apache-2.0
"""Many connections that say nothing; ``benchmarks.idle`` is the long run."""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks import machine
from zaqar.tests.functional.websocket.conftest import Connect, MakeServer

COUNT = 1000

#: Bytes that one may cost: ten thousand fit into 512 MiB beside the server.
MOST = 40_000

_PROGRAM = 'zaqar.tests.functional.websocket.idle'


def test_idle_connections_cost_little(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server()
    talk = connect(url=server.socket_url)
    talk.post('q', 1)
    (pid,) = re.findall(
        r'Started WebSocket server as process (\d+)', server.log.read_text()
    )
    before = machine.rss(int(pid))
    command = [sys.executable, '-m', _PROGRAM, str(server.socket_port)]
    with subprocess.Popen(
        [*command, str(COUNT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as idle:
        assert idle.stdout is not None
        assert idle.stdin is not None
        assert int(idle.stdout.readline()) == COUNT
        spent = machine.rss(int(pid)) - before
        assert talk.bodies('q') == [1]
        idle.stdin.close()
    assert spent < COUNT * MOST
    assert talk.bodies('q') == [1]
