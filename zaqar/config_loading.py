# SPDX-License-Identifier: Apache-2.0
"""Loading of the configuration of a program."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

from oslo_config import cfg
from oslo_log import log

from zaqar import logging_setup, version
from zaqar.errors import ConfigurationError

#: Name of the WSGI application, by which its configuration files are found;
#: packages name their folders after it.
WSGI_PROG = 'zaqar-queues'

#: Environment variables that name files to WSGI servers.
FILES = 'OS_ZAQAR_CONFIG_FILES'
FOLDER = 'OS_ZAQAR_CONFIG_DIR'


def load(
    prog: str,
    arguments: Sequence[str],
    prepare: Callable[[cfg.ConfigOpts], None] | None = None,
    *,
    files: list[str] | None = None,
    folders: list[str] | None = None,
) -> cfg.ConfigOpts:
    """Return the configuration of a program; set up logging by it.

    :param prog: its name, by which files are found
    :param prepare: registers the options of its command line
    :param files: read instead of those in the usual places
    :raises SystemExit: help was requested, or the usage is wrong
    """
    conf = cfg.ConfigOpts()
    logging_setup.register_options(conf)
    if prepare is not None:
        prepare(conf)
    with faults_explained():
        conf(
            list(arguments),
            project='zaqar',
            prog=prog,
            version=version.version_string(),
            default_config_files=files,
            default_config_dirs=folders,
        )
        logging_setup.set_up(conf)
    return conf


def may_have(conf: cfg.ConfigOpts, group: str) -> bool:
    """Tell whether a group may have a value, whose options are not known.

    Libraries that declare them need not be loaded if it has none.
    """
    prefix = f'OS_{group.upper()}__'
    return bool(
        # The library takes names in any case of letters.
        group in {name.lower() for name in conf.list_all_sections()}
        or conf.config_source
        or any(name.startswith(prefix) for name in os.environ)
    )


def from_environment(name: str) -> list[str] | None:
    """Return the paths in an environment variable, None without any."""
    paths = [part for part in os.environ.get(name, '').split(';') if part]
    for path in paths:
        if not pathlib.Path(path).exists():
            raise ConfigurationError(f'{name}: {path} does not exist')
    return paths or None


@contextlib.contextmanager
def faults_explained(blame: str = '') -> Iterator[None]:
    """Turn errors of libraries into a ConfigurationError of one line."""
    try:
        yield
    except (cfg.Error, log.LogConfigError, OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        text = ' '.join(line.strip() for line in lines)
        raise ConfigurationError(f'{blame}{text}') from None
