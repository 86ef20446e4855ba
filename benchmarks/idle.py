# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.idle``: the memory of idle connections."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks import machine, program_options
from zaqar.tests.servers.zaqar import Zaqar

#: Connections that one client holds; a process may open 20,000 files here.
EACH = 5000

#: Bytes that the server may hold with ten thousand of them.
MOST = 512 * 1024 * 1024

_PROGRAM = 'zaqar.tests.functional.websocket.idle'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('idle', __doc__, has_results=False)
    parser.add_argument('--connections', type=int, default=10_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        server = Zaqar(
            pathlib.Path(folder), socket='max_connections = 0\n'
        ).start()
        try:
            spent = _measured(server, options.connections)
        finally:
            server.stop()
    return 0 if spent < MOST else 1


def _measured(server: Zaqar, count: int) -> int:
    log = server.log.read_text()
    (pid,) = re.findall(r'Started WebSocket server as process (\d+)', log)
    print(f'{machine.rss(int(pid)) / 2**20:,.0f} MiB without connections')
    began = time.monotonic()
    clients = []
    for at in range(0, count, EACH):
        command = [sys.executable, '-m', _PROGRAM, str(server.socket_port)]
        clients.append(
            subprocess.Popen(
                [*command, str(min(EACH, count - at))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
    for client in clients:
        assert client.stdout is not None
        client.stdout.readline()
    elapsed = time.monotonic() - began
    memory = machine.rss(int(pid))
    print(
        f'{memory / 2**20:,.0f} MiB with {count:,}, opened in {elapsed:.1f} s'
    )
    for client in clients:
        client.communicate()
    return memory


if __name__ == '__main__':
    sys.exit(main())
