# SPDX-License-Identifier: Apache-2.0
"""Builds of the service: that of this tree, and those of others.

All of them run in the environment of this process; only the code, and the
entry points that name it, are theirs.
"""

from __future__ import annotations

import argparse
import atexit
import configparser
import contextlib
import functools
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping

from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar, module_at

#: The top of this tree.
THIS = pathlib.Path(__file__).parent.parent


class Server(Zaqar):
    """A server of a tree, which need not be this one.

    :ivar root: top of its tree
    """

    root = THIS

    def start(self) -> Server:
        self.process = self.begin(self.command(), self.log)
        self.process.wait_until(self.answers)
        return self

    def command(self, *more: str, program: str = 'server') -> list[str]:
        command = super().command(*more, program=program)
        command[2] = module_at(self.root, program)
        return command

    def begin(self, words: list[str], log: pathlib.Path) -> process.Process:
        """Start a program of its tree."""
        return process.Process(words, log, env=environment(self.root))

    def run(
        self, *more: str, program: str = 'server'
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*more, program=program),
            env={**os.environ, **environment(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )


def environment(root: pathlib.Path) -> Mapping[str, str]:
    """Return the variables with which Python runs the code of a tree."""
    paths = [root] if root == THIS else [root, _entry_points(root)]
    # Without the working directory, which ``-m`` would search first.
    return {
        'PYTHONPATH': os.pathsep.join(map(str, paths)),
        'PYTHONSAFEPATH': '1',
    }


@functools.cache
def _entry_points(root: pathlib.Path) -> pathlib.Path:
    """Return a folder with the metadata of a tree that is not installed."""
    declared = configparser.ConfigParser()
    declared.read(root / 'setup.cfg')
    folder = tempfile.TemporaryDirectory(prefix='zaqar-metadata-')
    atexit.register(folder.cleanup)
    metadata = pathlib.Path(folder.name, 'zaqar-0.dist-info')
    metadata.mkdir()
    metadata.joinpath('METADATA').write_text(
        'Metadata-Version: 2.1\nName: zaqar\nVersion: 0\n'
    )
    lines = []
    for group, points in declared['entry_points'].items():
        lines += [f'[{group}]', *points.split('\n')]
    metadata.joinpath('entry_points.txt').write_text('\n'.join(lines))
    return pathlib.Path(folder.name)


def tree(name: str) -> pathlib.Path:
    """Return the top of the tree that an option names.

    :param name: its folder, or a commit, which is checked out until this
        process ends
    :raises argparse.ArgumentTypeError: it is neither
    """
    if pathlib.Path(name).is_dir():
        return pathlib.Path(name).resolve()
    stack = contextlib.ExitStack()
    try:
        root = stack.enter_context(checked_out(name))
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip()
        raise argparse.ArgumentTypeError(
            f'{name} is neither a folder nor a commit: {reason}'
        ) from None
    atexit.register(stack.close)
    return root


@contextlib.contextmanager
def checked_out(
    commit: str, repository: pathlib.Path = THIS
) -> Iterator[pathlib.Path]:
    """Give the tree of a commit, in a folder that goes afterwards.

    :raises subprocess.CalledProcessError: there is no such commit
    """
    with tempfile.TemporaryDirectory(prefix='zaqar-build-') as folder:
        top = pathlib.Path(folder, 'tree')
        _worktree(repository, 'add', '--detach', str(top), commit)
        try:
            yield top
        finally:
            _worktree(repository, 'remove', '--force', str(top))


def _worktree(repository: pathlib.Path, *words: str) -> None:
    subprocess.run(
        ('git', '-C', str(repository), 'worktree', *words),
        capture_output=True,
        text=True,
        check=True,
    )
