# SPDX-License-Identifier: Apache-2.0
"""Command-line options that the programs have in common."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Collection, Sequence

from benchmarks import builds, databases


def parser(
    program: str, text: str | None, *, has_results: bool = True
) -> argparse.ArgumentParser:
    """Return the parser of a program.

    :param text: its documentation
    :param has_results: whether it can write them to a file
    """
    made = argparse.ArgumentParser(
        f'python -m benchmarks.{program}', description=text
    )
    if has_results:
        made.add_argument(
            '--markdown',
            type=pathlib.Path,
            metavar='FILE',
            help='also write the results to this file',
        )
    return made


def add_other_build(
    to: argparse.ArgumentParser, *, required: bool = False
) -> None:
    """Let another build be measured as well, in turns with this one."""
    to.add_argument(
        '--against',
        type=builds.tree,
        required=required,
        metavar='PATH_OR_COMMIT',
        help='the other build: the top of its tree, or a commit of this one',
    )


def add_guide(to: argparse.ArgumentParser, files: str) -> None:
    """Let tables be written as the sizing guide has them.

    :param files: their names
    """
    to.add_argument(
        '--guide',
        type=pathlib.Path,
        metavar='FOLDER',
        help=f'also write {files} of the sizing guide to this folder',
    )


def section(title: str, stores: Sequence[str]) -> str:
    """Return the section of the results: one of its own for chosen stores.

    :param stores: that were chosen, none if all are measured
    """
    if not stores:
        return title
    return f'{title}, {", ".join(map(databases.hidden, stores))}'


def add_stores(
    to: argparse.ArgumentParser, stores: Collection[str], default: str = 'all'
) -> None:
    """Let one or more of some stores be chosen."""
    to.add_argument(
        '--store',
        action='append',
        choices=stores,
        help=f'may be given again ({default})',
    )


def add_databases(
    to: argparse.ArgumentParser,
    default: Collection[str] = databases.DEFAULT,
) -> None:
    """Let databases be chosen as for :func:`benchmarks.databases.chosen`."""
    to.add_argument(
        '--store',
        action='append',
        default=[],
        metavar='URL',
        help='database to measure, or one of '
        f'{", ".join(databases.OWN)}, which are started for it if they are '
        f'installed; may be given again ({", ".join(default)})',
    )
