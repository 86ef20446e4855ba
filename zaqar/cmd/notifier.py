# SPDX-License-Identifier: Apache-2.0
"""``zaqar-notifier``: deliver notifications to subscribers."""

import signal
import sys
import threading
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from zaqar import (
    config_loading,
    parent_exit_watch,
    service_assembly,
    startup_log,
)
from zaqar.cmd import command_line_help
from zaqar.controllers import pipeline_and_confirmation_settings
from zaqar.errors import ConfigurationError
from zaqar.notification import settings
from zaqar.notification.notifier_service import Notifier

LOG = log.getLogger(__name__)

PROG = 'zaqar-notifier'

MANUAL = f"""\
NAME
    {PROG} - deliver notifications to subscribers

SYNOPSIS
    {PROG} [OPTION]...

DESCRIPTION
    Delivers the pending notifications of the message store and, with
    [DEFAULT] pooling, of every pool. zaqar-server does the same unless
    [notification] embedded is off; any number of both may run at the same
    time. Deliveries of one that dies are retried after 30 seconds.

    SIGTERM and SIGINT (Ctrl-C) end it after the attempts in progress. SIGUSR2
    makes it report its state on standard error.

OPTIONS
    --workers N         deliveries at a time; overrides [notification]
                        max_notifier_workers

{command_line_help.manual_of_files(PROG)}
EXIT STATUS
    0    stopped by a signal
    1    the configuration is not valid
    2    wrong usage

EXAMPLES
    {PROG}
    {PROG} --config-file /etc/zaqar/zaqar.conf --workers 40

"""

CLI_OPTS = [
    cfg.IntOpt(
        'workers',
        min=1,
        metavar='N',
        help='Deliveries at a time; overrides [notification] '
        'max_notifier_workers.',
    ),
]

#: Seconds between two checks of signals and of the parent process.
_CHECK_INTERVAL = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    words = command_line_help.read_words(arguments, MANUAL)
    try:
        conf = config_loading.load(PROG, words, _prepare)
        if conf.workers:
            conf.set_override(
                'max_notifier_workers', conf.workers, settings.GROUP
            )
        running = service_assembly.Service(conf)
        if not running.notifies:
            raise ConfigurationError(
                f'[{pipeline_and_confirmation_settings.GROUP}] '
                'message_pipeline is empty: there is nothing to deliver'
            )
        notifier = running.notifier()
        running.report_when_asked(Notifications=notifier.facts)
    except (ConfigurationError, cfg.Error) as error:
        print(f'{PROG}: {error}', file=sys.stderr)
        LOG.debug('Not started', exc_info=True)
        return 1
    startup_log.announce(conf, PROG)
    run(notifier)
    running.close()
    return 0


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options that enable notifications."""
    conf.register_opts(settings.OPTS, settings.GROUP)
    conf.register_opts(
        pipeline_and_confirmation_settings.OPTS,
        pipeline_and_confirmation_settings.GROUP,
    )


def is_embedded(conf: cfg.ConfigOpts) -> bool:
    """Tell whether ``zaqar-server`` delivers notifications, too."""
    has_stage = any(
        conf[pipeline_and_confirmation_settings.GROUP].message_pipeline
    )
    return bool(conf[settings.GROUP].embedded and has_stage)


def run(notifier: Notifier, *, is_child: bool = False) -> None:
    """Deliver until SIGTERM or SIGINT.

    :param is_child: also end with the parent process
    """
    ended = threading.Event()
    has_parent_ended = parent_exit_watch.watch()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    notifier.start()
    # Wakes regularly: a signal that another thread received is handled then,
    # and the parent may have died without a signal.
    while not ended.wait(_CHECK_INTERVAL):
        if is_child and has_parent_ended():
            break
    notifier.stop()


def _prepare(conf: cfg.ConfigOpts) -> None:
    conf.register_cli_opts(CLI_OPTS)
    register_opts(conf)


if __name__ == '__main__':
    sys.exit(main())
