# SPDX-License-Identifier: Apache-2.0
"""What uWSGI and gunicorn offer to an application beyond WSGI."""

import contextlib
import functools
import importlib
import os
import pathlib
import re
import socket
import stat
from collections.abc import Iterator
from typing import Any

from zaqar.transport.wsgi_types import Environ

#: What the kernel shows of the open files of this process.
_FDINFO = pathlib.Path('/proc/self/fdinfo')


def threads() -> int:
    """Return the threads of each process, 0 if they are not known."""
    uwsgi = uwsgi_module()
    return int(uwsgi.opt.get('threads', 1)) if uwsgi else 0


def connection(environ: Environ) -> int | None:
    """Return the descriptor of the connection of a request, if it is known.

    It is that of the client, or of a proxy that closes it when its own client
    goes.
    """
    if uwsgi := uwsgi_module():
        return int(uwsgi.connection_fd())
    socket = environ.get('gunicorn.socket')
    return None if socket is None else int(socket.fileno())


@functools.cache
def stop_pipe() -> int | None:
    """Return a pipe whose other end is closed when the process is to stop.

    uWSGI has no hook for that moment: it calls Python only after it has waited
    for all requests. But each of its threads watches this pipe, beside the
    sockets on which it accepts connections. Other event loops of the process
    have pipes of their own.
    """
    if not uwsgi_module():
        return None
    listening, pipes = set[int](), dict[int, int]()
    for epoll, descriptor in _watched_by_epoll():
        with contextlib.suppress(OSError):
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISFIFO(mode):
                pipes[epoll] = descriptor
            elif stat.S_ISSOCK(mode) and _is_listening(descriptor):
                listening.add(epoll)
    return next((pipes[epoll] for epoll in pipes if epoll in listening), None)


def _watched_by_epoll() -> Iterator[tuple[int, int]]:
    """Yield each descriptor that an epoll watches, after that of the epoll.

    Nothing is yielded where the kernel does not show it.
    """
    descriptors: list[str] = []
    with contextlib.suppress(OSError):
        descriptors = os.listdir(_FDINFO)
    for epoll in descriptors:
        lines = ''
        with contextlib.suppress(OSError):
            lines = (_FDINFO / epoll).read_text()
        for target in re.findall(r'(?m)^tfd:\s*(\d+)', lines):
            yield int(epoll), int(target)


def _is_listening(descriptor: int) -> bool:
    """Tell whether a socket accepts connections."""
    with socket.socket(fileno=os.dup(descriptor)) as opened:
        option = socket.SO_ACCEPTCONN
        return bool(opened.getsockopt(socket.SOL_SOCKET, option))


@functools.cache
def uwsgi_module() -> Any:
    """Return the module that exists inside uWSGI only, or None."""
    try:
        return importlib.import_module('uwsgi')
    except ImportError:
        return None
