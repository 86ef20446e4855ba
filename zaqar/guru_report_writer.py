# SPDX-License-Identifier: Apache-2.0
"""Guru meditation reports: made and written, now or when a file is touched.

Imports oslo.reports, which is loaded by the first report alone: see
:mod:`zaqar.guru_report_triggers`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg
from oslo_reports import guru_meditation_report
from oslo_reports.generators import conf as conf_generator
from oslo_reports.models import with_default_views

from zaqar import version

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


def report(
    conf: cfg.ConfigOpts, sections: Mapping[str, Facts], folder: str | None
) -> None:
    """Write a report.

    :param sections: what it says besides the usual, by title
    :param folder: for files, None for standard error
    """
    _prepare(conf, sections)
    Report.handle_signal(_Version(), _name(), folder, None)


def report_on_touch(
    conf: cfg.ConfigOpts, sections: Mapping[str, Facts]
) -> None:
    """Write a report whenever a file is touched that the settings name.

    :raises OSError: the file cannot be watched
    """
    _prepare(conf, sections)
    Report.setup_autorun(_Version(), service_name=_name(), conf=conf)


def _prepare(conf: cfg.ConfigOpts, sections: Mapping[str, Facts]) -> None:
    Report.conf = conf
    Report.persistent_sections = [
        (title, _section(facts)) for title, facts in sections.items()
    ]


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
