# SPDX-License-Identifier: Apache-2.0
"""Descriptors that the event loops of this process watch by epoll."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

#: What the kernel shows of the open files of this process.
FDINFO = pathlib.Path('/proc/self/fdinfo')


def watched() -> Iterator[tuple[int, int]]:
    """Yield each descriptor that an epoll watches, after that of the epoll.

    Nothing is yielded where the kernel does not show it.
    """
    descriptors: list[str] = []
    with contextlib.suppress(OSError):
        descriptors = os.listdir(FDINFO)
    for epoll in descriptors:
        lines = ''
        with contextlib.suppress(OSError):
            lines = (FDINFO / epoll).read_text()
        for target in re.findall(r'(?m)^tfd:\s*(\d+)', lines):
            yield int(epoll), int(target)
