# SPDX-License-Identifier: Apache-2.0
"""Where programs log."""

from __future__ import annotations

from oslo_config import cfg


def prefer_stderr(conf: cfg.ConfigOpts) -> None:
    """Log to standard error if a loaded configuration names no other place.

    The library would choose standard output, which belongs to what a program
    was asked for.
    """
    if not (conf.log_file or conf.log_dir or conf.use_journal):
        conf.set_default('use_stderr', True)
