# SPDX-License-Identifier: Apache-2.0
"""nginx, from Debian's package, in front of what tests serve."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal

from zaqar.tests.servers import process

_CONF = """\
daemon off;
# One process, which ends with whoever has started it.
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 2m;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""


class Nginx:
    """A running nginx.

    :param folder: an empty one, for what it writes
    :param server: directives of its one server
    :param http: directives beside that
    """

    def __init__(
        self, folder: pathlib.Path, server: str, *, http: str = ''
    ) -> None:
        program = shutil.which('nginx', path=f'{os.defpath}:/usr/sbin')
        if program is None:
            process.missing('nginx is not installed')
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = process.free_port()
        self.url = f'http://127.0.0.1:{self.port}'
        (folder / 'nginx.conf').write_text(
            _CONF.format(
                folder=folder,
                port=self.port,
                http=http,
                server=server,
            )
        )
        self.process = process.Process(
            [
                *(program, '-p', str(folder)),
                *('-c', str(folder / 'nginx.conf')),
                *('-e', str(folder / 'error.log')),
            ],
            folder / 'log',
        )
        self.process.wait_until(lambda: process.accepts(self.port))

    def errors(self) -> str:
        """Return what it complained of."""
        return (self.folder / 'error.log').read_text()

    def stop(self) -> None:
        """End it."""
        self.process.stop(signal.SIGTERM)
