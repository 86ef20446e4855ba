# SPDX-License-Identifier: Apache-2.0
"""Escaping of control characters in log entries: one line for each."""

import logging
import re

from zaqar.control_character_patterns import RANGES

#: Control characters, and those that change the direction of writing.
_CONTROL = re.compile(f'[{RANGES}\u202a-\u202e\u2066-\u2069]')


def printable(text: str) -> str:
    """Return a text with escapes in the place of control characters."""
    return _CONTROL.sub(lambda each: ascii(each[0])[1:-1], text)


class _OneLine(logging.Filter):
    """Escapes line breaks, so that callers cannot forge log entries."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _CONTROL.search(message):
            record.msg, record.args = printable(message), None
        return True


_ONE_LINE = _OneLine()


def keep_to_a_line() -> None:
    for handler in logging.getLogger().handlers:
        handler.addFilter(_ONE_LINE)
