# SPDX-License-Identifier: Apache-2.0
"""Lets the contract suite run with every body in Swift, the smallest too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from zaqar.tests.contract import harnesses, swift_harness


class EveryBody(swift_harness.Swift):
    """Swift, with nothing but references in the rows.

    It has more time than a caller has: the suite posts small bodies in numbers
    that no request could hold as large ones.
    """

    name = 'every-body'
    more: ClassVar[Mapping[str, int]] = {'inline': 0, 'timeout': 30}


harnesses.register(EveryBody)
