# SPDX-License-Identifier: Apache-2.0
"""Commands in the documentation, and a shell that runs them.

A ``code-block:: bash`` holds commands, and a ``code-block:: text`` right after
it what they print. ``...`` in it stands for any text. Without one the commands
may print anything.
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

_INDENTED = r'((?:\1 +\S.*\n|[ ]*\n)+)'

_BLOCK = re.compile(
    rf'^( *)\.\. code-block:: bash\n{_INDENTED}'
    rf'(?:\1\.\. code-block:: text\n{_INDENTED})?',
    re.MULTILINE,
)

#: Seconds for the commands of a block.
_PATIENCE = 60.0

_CHECKER = doctest.OutputChecker()

_RULES = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Step:
    """The commands of a block and what they should print."""

    commands: str
    expected: str

    def agrees(self, printed: str) -> bool:
        """Tell whether the commands printed what the page shows."""
        return not self.expected or _CHECKER.check_output(
            self.expected, printed, _RULES
        )


def steps(page: pathlib.Path) -> Iterator[Step]:
    """Read the commands of a page in order."""
    for _, commands, printed in _BLOCK.findall(page.read_text() + '\n'):
        text = _text(printed)
        yield Step(_text(commands), f'{text}\n' if text else '')


def _text(block: str) -> str:
    return textwrap.dedent(block).strip('\n')


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

    def run(self, commands: str) -> str:
        """Return what commands print, on both channels."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        end = secrets.token_hex(8)
        # What they read is not the rest of the script.
        script = f'{{ {commands}\n}} < /dev/null\nprintf "\\n%s\\n" {end}\n'
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
