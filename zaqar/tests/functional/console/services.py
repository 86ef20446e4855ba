# SPDX-License-Identifier: Apache-2.0
"""Services whose console is used."""

from __future__ import annotations

import pathlib

from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

_SETTINGS = """
[signed_url]
secret_key = 0123456789abcdef0123456789abcdef
[notification]
allowed_networks = 127.0.0.0/8
[console]
websocket_url = ws://127.0.0.1:{socket_port}
{console}
"""


def service(
    folder: pathlib.Path,
    *,
    general: str = '',
    console: str = '',
    rest: str = '',
) -> Zaqar:
    """Return a service that is not started yet, with streams.

    :param console: further lines of ``[console]``
    """
    port = process.free_port()
    settings = _SETTINGS.format(socket_port=port, console=console)
    return Zaqar(
        folder, general=general, rest=settings + rest, socket_port=port
    )
