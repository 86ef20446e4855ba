# SPDX-License-Identifier: Apache-2.0
"""Guru meditation reports: the state of a process, on request.

SIGUSR2 asks, or the touch of a file where a server takes that signal for
itself. Secrets of the configuration are masked; our own sections hold names
and numbers only.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from oslo_config import cfg
from oslo_reports import opts

from zaqar.errors import ConfigurationError

if TYPE_CHECKING:
    from zaqar.guru_report_writer import Facts

GROUP = 'oslo_reports'


def install(conf: cfg.ConfigOpts, sections: Mapping[str, Facts]) -> None:
    """Let this process report on request.

    Made after the process has forked.

    :param sections: what it can say besides the usual, by title
    """
    opts.set_defaults(conf)
    if conf[GROUP].file_event_handler:
        _watch(conf, sections)
    else:
        signal.signal(signal.SIGUSR2, lambda *_: _begin(conf, sections))


def _watch(conf: cfg.ConfigOpts, sections: Mapping[str, Facts]) -> None:
    from zaqar import guru_report_writer

    try:
        guru_report_writer.report_on_touch(conf, sections)
    except OSError as error:
        path = conf[GROUP].file_event_handler
        raise ConfigurationError(
            f'[{GROUP}] file_event_handler: {path}: {error.strerror}'
        ) from None


def _begin(conf: cfg.ConfigOpts, sections: Mapping[str, Facts]) -> None:
    """Report from a thread of its own.

    What was interrupted by the signal may hold a lock that a section needs,
    and may be an event loop that others wait for.
    """
    threading.Thread(
        target=_report, args=(conf, sections), name='report', daemon=True
    ).start()


def _report(conf: cfg.ConfigOpts, sections: Mapping[str, Facts]) -> None:
    # Most processes never report: the libraries for it are loaded here.
    from zaqar import guru_report_writer

    guru_report_writer.report(conf, sections, conf[GROUP].log_dir)
