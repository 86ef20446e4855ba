# SPDX-License-Identifier: Apache-2.0
"""Origin of a handshake: which web pages may connect."""

from collections.abc import Sequence
from urllib.parse import urlsplit

#: Allows pages from anywhere.
ANYWHERE = '*'


def is_welcome(
    origin: str | None, host: str, allowed: Sequence[str], proves: bool
) -> bool:
    """Tell whether a page may connect.

    Where nobody has to prove who he is, any page in a browser that reaches
    the port could act as anybody: it has to come from our own host, unless
    its origin is allowed. Programs that are no browsers name none.

    :param host: what the client has connected to
    :param allowed: origins
    :param proves: whether a connection has to prove who it is
    """
    if not origin or ANYWHERE in allowed or origin in allowed:
        return True
    if proves:
        return not allowed
    name = _host(origin)
    return bool(name) and name == _host(f'//{host}')


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ''
    except ValueError:
        return ''
