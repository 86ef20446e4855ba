# SPDX-License-Identifier: Apache-2.0
"""Console sessions in the documentation, and a shell that runs them.

A session is a ``code-block:: console``: lines after ``$`` are commands, lines
after ``>`` go on with one, and what follows is what they print. ``...`` in it
stands for any text. A command without a text after it may print anything.
"""

from __future__ import annotations

import doctest
import os
import pathlib
import re
import secrets
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

_BLOCK = re.compile(
    r'^( *)\.\. code-block:: console\n((?:\1 +\S.*\n|[ ]*\n)+)', re.MULTILINE
)

#: Seconds for one command.
_PATIENCE = 60.0

_CHECKER = doctest.OutputChecker()

_RULES = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Step:
    """One command of a session and what it should print."""

    command: str
    expected: str

    def agrees(self, printed: str) -> bool:
        """Tell whether the command printed what the page shows."""
        return not self.expected or _CHECKER.check_output(
            self.expected, printed, _RULES
        )


def steps(page: pathlib.Path) -> Iterator[Step]:
    """Read the commands of a page in order."""
    for _, block in _BLOCK.findall(page.read_text() + '\n'):
        yield from _steps(textwrap.dedent(block).strip('\n'))


def _steps(block: str) -> Iterator[Step]:
    command: list[str] = []
    output: list[str] = []
    for line in block.splitlines():
        if line.startswith('$ '):
            if command:
                yield _step(command, output)
            command, output = [line[2:]], []
        elif (line.startswith('> ') or line == '>') and not output:
            command.append(line[2:])
        else:
            output.append(line)
    if command:
        yield _step(command, output)


def _step(command: list[str], output: list[str]) -> Step:
    text = '\n'.join(output).strip('\n')
    return Step('\n'.join(command), f'{text}\n' if text else '')


class Shell:
    """One bash for all steps of a page, as a reader has it."""

    def __init__(self, folder: pathlib.Path, env: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ['bash', '--norc'],
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bash.kill()
        self._bash.wait()
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            pipe.close()

    def run(self, command: str) -> str:
        """Return what a command prints, on both channels."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        end = secrets.token_hex(8)
        # What a command reads is not the rest of the script.
        script = f'{{ {command}\n}} < /dev/null\nprintf "\\n%s\\n" {end}\n'
        self._bash.stdin.write(script)
        self._bash.stdin.flush()
        watch = threading.Timer(_PATIENCE, self._bash.kill)
        watch.start()
        try:
            return self._read_until(end)
        finally:
            watch.cancel()

    def _read_until(self, end: str) -> str:
        assert self._bash.stdout is not None
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.rstrip('\n') == end:
                return ''.join(lines).rstrip('\n') + '\n'
            lines.append(line)
        raise AssertionError(f'The shell ended:\n{"".join(lines)}')
