# SPDX-License-Identifier: Apache-2.0
"""The folder for files of the service: ``state_path``, and its default."""

import os
import pathlib

from oslo_config import cfg

from zaqar.errors import ConfigurationError

#: Where packages have the service keep its files.
SYSTEM = '/var/lib/zaqar'

STATE_PATH_LABEL = '[DEFAULT] state_path'

OPTS = [
    cfg.StrOpt(
        'state_path',
        sample_default='/var/lib/zaqar',
        help='Folder of the embedded database, which must exist. Unset: '
        '/var/lib/zaqar if that exists and is writable, else '
        '$XDG_STATE_HOME/zaqar, else ~/.local/state/zaqar.',
    ),
]


def state_path(conf: cfg.ConfigOpts) -> pathlib.Path:
    """Return the folder for files of the service.

    The default one is created if it is missing. If one that is set is missing,
    it is mistyped, or its file system is not mounted.
    """
    folder = state_folder(conf)
    if conf.state_path and not folder.is_dir():
        raise ConfigurationError(
            f'{STATE_PATH_LABEL}: the folder {folder} does not exist'
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f'[DEFAULT] state_path: {folder} cannot be made: {error.strerror}'
        ) from None
    return folder


def state_folder(conf: cfg.ConfigOpts) -> pathlib.Path:
    """Return the folder for files of the service, existing or not."""
    conf.register_opts(OPTS)
    return pathlib.Path(conf.state_path or _default_state_path())


def _default_state_path() -> pathlib.Path:
    if os.path.isdir(SYSTEM) and os.access(SYSTEM, os.W_OK | os.X_OK):
        return pathlib.Path(SYSTEM)
    home = os.environ.get('XDG_STATE_HOME')
    # The base directory specification says to ignore relative paths.
    if home and os.path.isabs(home):
        return pathlib.Path(home) / 'zaqar'
    return pathlib.Path.home() / '.local' / 'state' / 'zaqar'
