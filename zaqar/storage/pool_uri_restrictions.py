# SPDX-License-Identifier: Apache-2.0
"""Checks of the URIs of pools.

Pools are managed over the network, by people who need not be those who write
the configuration file: a URI must not read, create or watch files of the
machines that open it. Each driver lists the options that are known to be safe;
an option that its library gains later is refused.
"""

import os
import pathlib
from collections.abc import Collection, Iterable

from zaqar.errors import ConfigurationError


def check_options(
    options: Iterable[tuple[str, str]],
    allowed: Collection[str],
    files: Collection[str] = (),
) -> None:
    """Refuse options that are not listed.

    :param allowed: their names, in lower case
    :param files: names of options that name a certificate or a key
    """
    for name, value in options:
        if name.lower() in files:
            check_file(name, value)
        elif name.lower() not in allowed:
            raise ConfigurationError(
                f'the option "{name}" cannot be used in the URI of a pool; '
                f'known are {", ".join(sorted({*allowed, *files}))}'
            )


def check_file(name: str, path: str) -> None:
    """Refuse devices and pipes, which may block."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ConfigurationError(f'{name} must name a regular file')


def check_below(path: str, folder: str) -> None:
    """Refuse a file outside of a folder, symbolic links resolved."""
    root = pathlib.Path(folder).resolve()
    try:
        is_below = root in pathlib.Path(path).resolve().parents
    except (ValueError, OSError, RuntimeError):
        # A zero byte, or links in a circle.
        is_below = False
    if not is_below:
        raise ConfigurationError(
            f'the SQLite file of a pool must be below {folder}, which '
            '[pooling:catalog] sqlite_path names'
        )
