# SPDX-License-Identifier: Apache-2.0
"""Patterns of control characters, which no name and no header may contain."""

import re

#: Control characters and line separators, as part of a character class.
RANGES = '\x00-\x1f\x7f-\x9f\u2028\u2029'

PATTERN = re.compile(f'[{RANGES}]')
