# SPDX-License-Identifier: Apache-2.0
"""A service whose metrics tests look at."""

from __future__ import annotations

import pathlib
import socket
import threading

import requests

from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'a-project-of-ours',
}

KEY = 'a signing key that is nobody elses'

_REST = """
[drivers:transport:websocket]
port = {websocket}
[metrics]
port = {metrics}
statsd_host = 127.0.0.1
statsd_port = {statsd}
[signed_url]
secret_key = {key}
[notification]
allowed_networks = 127.0.0.0/8
[quotas]
topics = 1
"""


class Watched:
    """A service, where its figures are, and who is sent them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.statsd.bind(('127.0.0.1', 0))
        self.sent: set[str] = set()
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()
        self.websocket = process.free_port()
        port = process.free_port()
        self.figures = f'http://127.0.0.1:{port}/metrics'
        rest = _REST.format(
            websocket=self.websocket,
            metrics=port,
            statsd=self.statsd.getsockname()[1],
            key=KEY,
        )
        self.server = Zaqar(folder, rest=rest, workers=2).start()

    def read(self) -> str:
        """Return what Prometheus is answered."""
        return requests.get(self.figures, timeout=60).text

    def stop(self) -> None:
        """End it."""
        self.server.stop()
        self.statsd.sendto(b'', self.statsd.getsockname())
        self._reader.join()
        self.statsd.close()

    def _drain(self) -> None:
        """Note the names that statsd is sent, until an empty datagram."""
        while sent := self.statsd.recv(2000):
            self.sent.add(sent.decode().partition(':')[0])

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels."""
        total = 0.0
        for line in self.read().splitlines():
            key, _, value = line.rpartition(' ')
            if key.partition('{')[0] == name and all(
                f'{label}="{wanted}"' in key
                for label, wanted in labels.items()
            ):
                total += float(value)
        return total

    def ask(self, method: str, path: str, document: object = None) -> int:
        """Send a request; return the status of the answer."""
        url = f'{self.server.url}/v2{path}'
        answer = requests.request(
            method, url, json=document, headers=HEADERS, timeout=30
        )
        return answer.status_code
