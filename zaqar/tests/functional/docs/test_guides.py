# SPDX-License-Identifier: Apache-2.0
"""Every command of the guides, run as it is printed."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import pytest

from zaqar.tests.functional.docs import sessions
from zaqar.tests.servers.zaqar import Zaqar

ROOT = pathlib.Path(__file__).parents[4]

DOCUMENTS = ROOT / 'doc' / 'source'

GUIDES = DOCUMENTS / 'user'

EXAMPLES = ROOT / 'examples'

#: What the guides call the service.
SHOWN = 'http://127.0.0.1:8888'

#: What they call its server of streams.
SHOWN_STREAMS = '://127.0.0.1:9000'

PAGES = [
    page
    for page in [
        ROOT / 'README.rst',
        *sorted(GUIDES.glob('*.rst')),
        EXAMPLES / 'curl.rst',
    ]
    if any(sessions.steps(page))
]

_SETTINGS = """
[signed_url]
secret_key = a key for the guides alone
[notification]
allowed_networks = 127.0.0.0/8
"""


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zaqar]:
    """The service as a reader has started it."""
    running = Zaqar(tmp_path_factory.mktemp('guides'), rest=_SETTINGS)
    running.start()
    yield running
    running.stop()


def test_there_are_commands_to_run() -> None:
    names = {page.stem for page in PAGES}

    assert {'README', 'tutorial', 'patterns', 'curl'} <= names


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_print_what_it_shows(
    page: pathlib.Path, server: Zaqar, tmp_path: pathlib.Path
) -> None:
    with sessions.Shell(tmp_path, {'PATH': _path()}) as shell:
        for step in sessions.steps(page):
            commands = step.commands.replace(SHOWN, server.url).replace(
                SHOWN_STREAMS, server.socket_url.removeprefix('ws')
            )
            printed = shell.run(commands).replace(server.url, SHOWN)
            assert step.agrees(printed), (
                f'{step.commands}\n\nprint\n\n{printed}\nbut {page.name} '
                f'shows\n\n{step.expected}'
            )


@pytest.mark.parametrize(
    'page',
    [ROOT / 'README.rst', *DOCUMENTS.rglob('*.rst'), *EXAMPLES.rglob('*.rst')],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_commands_can_be_copied(page: pathlib.Path) -> None:
    # A prompt would be copied with the command.
    assert not re.findall(r'^ +\$ \w', page.read_text(), re.MULTILINE)


def _path() -> str:
    import os
    import sys

    # The interpreter of the tests has the clients that the guides use.
    return f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
