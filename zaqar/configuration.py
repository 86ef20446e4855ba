# SPDX-License-Identifier: Apache-2.0
"""The configuration of a program: from its files to logging set up."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

from oslo_config import cfg
from oslo_log import log

from zaqar import log_setup, version
from zaqar.errors import ConfigurationError

#: What the WSGI application is called where programs have configuration
#: files of their own; packages name their folders after it.
WSGI_PROG = 'zaqar-queues'

#: Where WSGI servers, which hand over no arguments, may name files.
FILES = 'OS_ZAQAR_CONFIG_FILES'
FOLDER = 'OS_ZAQAR_CONFIG_DIR'

#: Libraries that say more than an operator wants to read.
QUIET = (
    '_granian=WARN',
    'alembic=WARN',
    'autobahn=WARN',
    'keystoneauth=WARN',
    'keystonemiddleware=WARN',
    'oslo.policy=WARN',
    'oslo_policy=WARN',
    'sqlalchemy=WARN',
    'stevedore=WARN',
    'urllib3=WARN',
)

_LOG_FORMAT = (
    '%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s '
    '[%(global_request_id)s %(request_id)s project_id:%(project_id)s] '
    '%(message)s'
)


def load(
    prog: str,
    arguments: Sequence[str],
    prepare: Callable[[cfg.ConfigOpts], None] | None = None,
    *,
    files: list[str] | None = None,
    folders: list[str] | None = None,
) -> cfg.ConfigOpts:
    """Return the configuration of a program; log as it says.

    :param prog: its name, by which files are found
    :param prepare: registers the options of its command line
    :param files: read instead of those that would be found
    :raises ConfigurationError: a file or value is not as it should be
    :raises SystemExit: help was asked for, or the usage is wrong
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    log.set_defaults(
        logging_context_format_string=_LOG_FORMAT,
        default_log_levels=[*log.get_default_log_levels(), *QUIET],
    )
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
        log_setup.prefer_stderr(conf)
        log.setup(conf, 'zaqar', version.version_string())
        log_setup.keep_to_a_line()
    return conf


def from_environment(name: str) -> list[str] | None:
    paths = [part for part in os.environ.get(name, '').split(';') if part]
    for path in paths:
        if not pathlib.Path(path).exists():
            raise ConfigurationError(f'{name}: {path} does not exist')
    return paths or None


@contextlib.contextmanager
def faults_explained(blame: str = '') -> Iterator[None]:
    """Turn what libraries raise into one line for an operator.

    :raises ConfigurationError: something was raised
    """
    try:
        yield
    except (cfg.Error, log.LogConfigError, OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        text = ' '.join(line.strip() for line in lines)
        raise ConfigurationError(f'{blame}{text}') from None
