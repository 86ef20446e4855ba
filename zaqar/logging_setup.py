# SPDX-License-Identifier: Apache-2.0
"""Set-up of logging, by the configuration of a program."""

import logging

from oslo_config import cfg
from oslo_log import log

from zaqar import log_line_escaping, version

#: Libraries whose log is too detailed by default.
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

# keystoneauth (5.x) logs each token's whole body at DEBUG, ids of trusts
# included, whatever default_log_levels says of the library.
logging.getLogger('keystoneauth.identity').setLevel(logging.INFO)

_LOG_FORMAT = (
    '%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s '
    '[%(global_request_id)s %(request_id)s project_id:%(project_id)s] '
    '%(message)s'
)


def register_options(conf: cfg.ConfigOpts) -> None:
    """Register the options of the log, with the defaults of the service."""
    log.register_options(conf)
    log.set_defaults(
        logging_context_format_string=_LOG_FORMAT,
        default_log_levels=[*log.get_default_log_levels(), *QUIET],
    )


def set_up(conf: cfg.ConfigOpts) -> None:
    """Log as a loaded configuration says, each entry on a line."""
    prefer_stderr(conf)
    log.setup(conf, 'zaqar', version.version_string())
    log_line_escaping.keep_to_a_line()


def prefer_stderr(conf: cfg.ConfigOpts) -> None:
    """Log to standard error if a loaded configuration names no other place.

    The library would choose standard output, which belongs to what a program
    was asked for.
    """
    if not (conf.log_file or conf.log_dir or conf.use_journal):
        conf.set_default('use_stderr', True)
