# SPDX-License-Identifier: Apache-2.0
"""PgBouncer before a PostgreSQL server."""

from __future__ import annotations

import configparser
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import sqlalchemy as sa

from zaqar.tests.servers import process

#: What we ship.
SAMPLE = pathlib.Path(__file__).parents[3] / 'etc' / 'zaqar' / 'pgbouncer.ini'

#: Where Debian puts it.
PROGRAM = '/usr/sbin/pgbouncer'


class PgBouncer:
    """One that lends few connections, so that clients meet on them.

    :param target: URL of the server
    :param settings: further settings, by name
    :ivar port: where it listens
    """

    def __init__(self, target: sa.URL, **settings: str) -> None:
        if not os.access(PROGRAM, os.X_OK):
            process.missing('PgBouncer is not installed')
        self._user = process.unprivileged('postgres')
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.port = process.free_port()
        self._write(target, settings)
        if self._user is not None:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        self.start()

    def url(self, uri: str) -> str:
        """Return the URI of a database of the server, through here."""
        changed = sa.make_url(uri).set(host='127.0.0.1', port=self.port)
        return changed.render_as_string(hide_password=False)

    def version(self) -> str:
        """Return name and version of it."""
        output = subprocess.check_output([PROGRAM, '--version'], text=True)
        return output.splitlines()[0]

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.process = process.Process(
            [PROGRAM, str(self.folder / 'pgbouncer.ini')],
            self.folder / 'log',
            user=self._user,
        )
        self.process.wait_until(lambda: process.accepts(self.port))

    def kill(self) -> None:
        """End it without a warning."""
        self.process.stop(signal.SIGKILL)

    def halt(self) -> None:
        """End it in good order."""
        self.process.stop(signal.SIGTERM)

    def stop(self) -> None:
        """End it for good."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, target: sa.URL, settings: dict[str, str]) -> None:
        conf = configparser.RawConfigParser()
        # It is part of the source tree alone.
        conf.read_dict({'pgbouncer': {'listen_addr': '127.0.0.1'}})
        conf.read(SAMPLE)
        conf['databases'] = {'*': f'host={target.host} port={target.port}'}
        users = self.folder / 'users'
        users.write_text(f'"{target.username}" ""\n')
        conf['pgbouncer'].update(
            {
                'listen_port': str(self.port),
                'auth_type': 'trust',
                'auth_file': str(users),
                'unix_socket_dir': '',
                'default_pool_size': '3',
                **settings,
            }
        )
        with (self.folder / 'pgbouncer.ini').open('w') as file:
            conf.write(file)
