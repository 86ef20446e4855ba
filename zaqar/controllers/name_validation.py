# SPDX-License-Identifier: Apache-2.0
"""Which names queues, topics, pools and flavors may have; longest project."""

import re

#: Longest name of a project, and of a queue or topic, in characters.
MAX_PROJECT = 256
MAX_NAME = 64

_NAME = re.compile(rf'[A-Za-z0-9_.-]{{1,{MAX_NAME}}}')


def is_name(text: str) -> bool:
    """Tell whether a text can name a queue, topic, pool or flavor."""
    return bool(_NAME.fullmatch(text)) and text not in ('.', '..')
