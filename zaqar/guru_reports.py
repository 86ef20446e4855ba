# SPDX-License-Identifier: Apache-2.0
"""Guru meditation reports: the state of a process, on request.

SIGUSR2 asks, or the touch of a file where a server takes that signal for
itself. Secrets of the configuration are masked; our own sections hold names
and numbers only.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg
from oslo_reports import guru_meditation_report, opts
from oslo_reports.generators import conf as conf_generator
from oslo_reports.models import with_default_views

from zaqar import version
from zaqar.errors import ConfigurationError

GROUP = 'oslo_reports'

#: What a section says: names and numbers, nested as needed.
Facts = Callable[[], Mapping[str, Any]]


class Report(guru_meditation_report.TextGuruMeditation):
    """The usual sections, and those of this process."""

    conf: cfg.ConfigOpts

    def add_section(
        self, heading: Any, generator: Any, index: int | None = None
    ) -> None:
        """Show our configuration, not the library's global one."""
        if heading == 'Configuration':
            generator = conf_generator.ConfigReportGenerator(self.conf)
        super().add_section(heading, generator, index)


class _Version:
    """The version, as the library reads it."""

    def vendor_string(self) -> str:
        return 'OpenStack Foundation'

    def product_string(self) -> str:
        return 'Zaqar'

    def version_string_with_package(self) -> str:
        return version.version_string()


def install(conf: cfg.ConfigOpts, sections: Mapping[str, Facts]) -> None:
    """Let this process report on request.

    Made after the process has forked.

    :param sections: what it can say besides the usual, by title
    """
    prepare(conf, sections)
    path = conf[GROUP].file_event_handler
    if path:
        _watch(conf, path)
    else:
        signal.signal(signal.SIGUSR2, lambda *_: _begin(conf))


def prepare(conf: cfg.ConfigOpts, sections: Mapping[str, Facts]) -> None:
    """Register the options and the sections of a report."""
    opts.set_defaults(conf)
    Report.conf = conf
    Report.persistent_sections = [
        (title, _section(facts)) for title, facts in sections.items()
    ]


def _watch(conf: cfg.ConfigOpts, path: str) -> None:
    try:
        Report.setup_autorun(_Version(), service_name=_name(), conf=conf)
    except OSError as error:
        raise ConfigurationError(
            f'[{GROUP}] file_event_handler: {path}: {error.strerror}'
        ) from None


def _begin(conf: cfg.ConfigOpts) -> None:
    """Report from a thread of its own.

    What was interrupted by the signal may hold a lock that a section needs,
    and may be an event loop that others wait for.
    """
    threading.Thread(
        target=Report.handle_signal,
        args=(_Version(), _name(), conf[GROUP].log_dir, None),
        name='report',
        daemon=True,
    ).start()


def _name() -> str:
    # Several processes may report in one second.
    return f'zaqar-{os.getpid()}'


def _section(facts: Facts) -> Callable[[], Any]:
    def generate() -> Any:
        try:
            section = dict(facts())
        except Exception as error:
            # The other sections are worth having all the same.
            section = {'not available': type(error).__name__}
        return with_default_views.ModelWithDefaultViews(section)

    return generate
