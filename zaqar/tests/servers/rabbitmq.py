# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ, which OpenStack's other services talk through."""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import shutil
import signal
import socket
import tempfile

from zaqar.tests.servers import process

# Debian's program of that name in the PATH insists on the account and the
# folders of the machine's own broker; this is what it starts in the end.
_PROGRAM = pathlib.Path('/usr/lib/rabbitmq/bin/rabbitmq-server')


class RabbitMQ:
    """A broker of our own, with a port mapper of its own.

    :ivar url: where oslo.messaging finds it
    """

    def __init__(self) -> None:
        mapper = shutil.which('epmd')
        if mapper is None or not _PROGRAM.exists():
            process.missing('RabbitMQ is not installed')
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='zaqar-test-'))
        self.port = process.free_port()
        self.url = f'rabbit://guest:guest@127.0.0.1:{self.port}/'
        names = process.free_port()
        self._mapper = process.Process(
            [mapper, '-port', str(names), '-address', '127.0.0.1'],
            self.folder / 'epmd.log',
        )
        self._mapper.wait_until(lambda: process.accepts(names))
        self._server = process.Process(
            [str(_PROGRAM)],
            self.folder / 'log',
            env=self._environment(names),
        )
        # It listens before it lets anybody log in.
        self._server.wait_until(lambda: _greets(self.port), patience=120.0)

    def stop(self) -> None:
        """End it, port mapper and all."""
        self._server.stop(signal.SIGTERM)
        self._mapper.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self, names: int) -> dict[str, str]:
        """Return variables that keep it off the machine's own broker.

        :param names: port of its port mapper
        """
        folder = self.folder
        (folder / 'rabbitmq.conf').write_text('log.file = false\n')
        (folder / 'plugins').write_text('[].\n')
        return {
            # The cookie that nodes know each other by is kept in HOME.
            'HOME': str(folder),
            'ERL_EPMD_PORT': str(names),
            'ERL_EPMD_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODENAME': f'zaqar-{secrets.token_hex(6)}@localhost',
            'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
            'RABBITMQ_NODE_PORT': str(self.port),
            'RABBITMQ_DIST_PORT': str(process.free_port()),
            'RABBITMQ_CONF_ENV_FILE': str(folder / 'no-such-file'),
            'RABBITMQ_CONFIG_FILE': str(folder / 'rabbitmq.conf'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(folder / 'plugins'),
            'RABBITMQ_MNESIA_BASE': str(folder / 'mnesia'),
            'RABBITMQ_LOG_BASE': str(folder),
            'RABBITMQ_PID_FILE': str(folder / 'pid'),
            # No shell stays between us and the broker.
            'RUNNING_UNDER_SYSTEMD': 'true',
            # One scheduler each is plenty, and others test here, too.
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '+S 1:1 +sbwt none',
        }


def _greets(port: int) -> bool:
    """Tell whether a port of 127.0.0.1 answers in AMQP 0-9-1."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection(('127.0.0.1', port), 1) as peer,
    ):
        peer.settimeout(5)
        peer.sendall(b'AMQP\x00\x00\x09\x01')
        return peer.recv(1) == b'\x01'
    return False
