# SPDX-License-Identifier: Apache-2.0
"""MongoDB servers: secantusdb, which speaks MongoDB's wire protocol.

It is a replica set of one. What it shows of speed says nothing of MongoDB: it
sorts by reading all that a condition lets through.
"""

from __future__ import annotations

import os
import pathlib
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from zaqar.tests.servers import process

PROGRAM = 'secantusd-py'


class MongoDB:
    """A server of our own, in a folder that goes with it.

    :param arguments: further ones of its command line
    :param client: what the clients of tests need to reach it
    :ivar uri: how it is reached
    """

    def __init__(self, *arguments: str, **client: Any) -> None:
        self.arguments = arguments
        self._client = client
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.port = process.free_port()
        self.name = f'zaqar-{secrets.token_hex(6)}'
        self.uri = (
            f'mongodb://127.0.0.1:{self.port}/'
            f'?directConnection=true&appName={self.name}'
        )
        self.start()

    def start(self) -> None:
        """Start it on its port and data, and wait until it answers."""
        self.process = process.Process(self._command(), self.folder / 'log')
        self.process.wait_until(lambda: process.accepts(self.port))
        self.process.wait_until(self._answers)

    def kill(self) -> None:
        """End it without a warning."""
        self.process.stop(signal.SIGKILL)

    def stop(self) -> None:
        """End it and remove its folder."""
        self.process.stop(signal.SIGTERM, patience=5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def observer(self) -> pymongo.MongoClient[dict[str, Any]]:
        """Return a client of the test's own."""
        return pymongo.MongoClient(
            self.uri.replace(self.name, 'observer'),
            serverSelectionTimeoutMS=5000,
            **self._client,
        )

    def _command(self) -> Sequence[str]:
        return [
            program(),
            *('--host', '127.0.0.1', '--port', str(self.port)),
            *('--storage-path', str(self.folder / 'data')),
            *('--log-level', 'WARNING', '--cache-size', '256M'),
            *self.arguments,
        ]

    def _answers(self) -> bool:
        try:
            with self.observer() as client:
                client.admin.command('hello')
        except PyMongoError:
            return False
        return True


def version() -> str:
    """Return name and version of the server."""
    return f'SecantusDB {metadata.version("SecantusDB")}'


def program() -> str:
    """Return the path of the server's program."""
    places = [os.path.dirname(sys.executable), os.environ.get('PATH', '')]
    path = shutil.which(PROGRAM, path=os.pathsep.join(places))
    if path is None:
        process.missing(f'{PROGRAM} (secantusdb) is not installed')
    return path
