# SPDX-License-Identifier: Apache-2.0
"""Set-up of logging: its options, and entries of one line each."""

import logging
import re

from oslo_config import cfg
from oslo_log import log

from zaqar import version
from zaqar.control_character_patterns import RANGES

#: Libraries whose log is too detailed by default.
QUIET = (
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

#: Control characters, and those that change the direction of writing.
_CONTROL = re.compile(f'[{RANGES}\u202a-\u202e\u2066-\u2069]')

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
    for handler in logging.getLogger().handlers:
        handler.addFilter(_ONE_LINE)


def prefer_stderr(conf: cfg.ConfigOpts) -> None:
    """Log to standard error if a loaded configuration names no other place.

    The library would choose standard output, which belongs to what a program
    was asked for.
    """
    if not (conf.log_file or conf.log_dir or conf.use_journal):
        conf.set_default('use_stderr', True)


def printable(text: str) -> str:
    """Return a text with escapes in the place of control characters."""
    return _CONTROL.sub(lambda each: ascii(each[0])[1:-1], text)


class _OneLine(logging.Filter):
    """Escapes line breaks, so that callers cannot forge log entries."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _CONTROL.search(message):
            record.msg, record.args = printable(message), None
        return True


_ONE_LINE = _OneLine()
