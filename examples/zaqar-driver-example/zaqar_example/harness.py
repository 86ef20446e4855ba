# SPDX-License-Identifier: Apache-2.0
"""The harness with which Zaqar's contract suite tests this driver.

``pytest -p zaqar_example.harness --pyargs zaqar.tests.contract -k example``
"""

from __future__ import annotations

import pathlib
import shutil
import sys
import tempfile
from collections.abc import Mapping

from zaqar.tests.contract import harnesses
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.servers import process
from zaqar_example.driver import DRIVER


class Example(harnesses.Harness):
    """The driver, with a server that runs as long as the tests."""

    name = 'example'
    driver = DRIVER
    # What the server can do that not every server can.
    features = frozenset({Feature.ENDPOINT, Feature.SERVER_CLOCK})

    def start(self) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self._port = process.free_port()
        command = [sys.executable, '-m', 'zaqar_example.server']
        self._server = process.Process(
            [*command, '--port', str(self._port)], self._folder / 'log'
        )
        self._server.wait_until(lambda: process.accepts(self._port))
        self._places = 0

    def stop(self) -> None:
        self._server.stop()
        shutil.rmtree(self._folder)

    def database(self) -> str:
        self._places += 1
        return f'example://127.0.0.1:{self._port}/place-{self._places}'

    def endpoint(self, uri: str) -> tuple[str, int]:
        return '127.0.0.1', self._port

    def via(self, uri: str, port: int) -> str:
        return uri.replace(f':{self._port}/', f':{port}/')

    def faulty(self) -> Mapping[str, str]:
        return {
            'no port': 'example://127.0.0.1/place',
            'no place': f'example://127.0.0.1:{self._port}/',
            'malformed port': 'example://127.0.0.1:port/place',
            'another scheme': f'other://127.0.0.1:{self._port}/place',
        }


harnesses.register(Example)
