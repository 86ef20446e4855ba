# SPDX-License-Identifier: Apache-2.0
"""Words of the command line of our programs, and the manual it prints."""

import itertools
import sys
from collections.abc import Container, Sequence


def read_words(
    arguments: Sequence[str] | None, manual: str, commands: Container[str] = ()
) -> Sequence[str]:
    """Return the words of a program's command line.

    Prints the manual if help is requested, not that of one of the commands.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    for word in itertools.takewhile(lambda word: word not in commands, words):
        if word in ('-h', '--help'):
            print(manual)
            break
    return words


def manual_of_files(prog: str) -> str:
    """Return the section of a program's manual on what it reads."""
    return f"""\
FILES
    zaqar.conf and {prog}.conf, the first of each found in
    ~/.zaqar, ~, /etc/zaqar and /etc, then zaqar.conf.d/*.conf and
    {prog}.conf.d/*.conf there. Later ones win.
"""
