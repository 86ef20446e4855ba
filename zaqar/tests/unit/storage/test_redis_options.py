# SPDX-License-Identifier: Apache-2.0
"""Which URI a plane on Redis is opened with."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
from oslo_config import cfg

from zaqar.storage import configured_drivers_and_options
from zaqar.storage.redis.driver_declaration import DRIVER

CHOSEN = '[drivers]\nmessage_store = redis\nmanagement_store = redis\n'
DEFAULT = 'redis://127.0.0.1:6379'


def uris(folder: pathlib.Path, text: str) -> dict[str, str]:
    """Return the URI of each plane under a configuration."""
    file = folder / 'zaqar.conf'
    file.write_text(text)
    conf = cfg.ConfigOpts()
    conf(['--config-file', str(file)], project='zaqar')
    return {
        location.plane: location.uri
        for location in configured_drivers_and_options.locations(conf)
    }


@pytest.mark.parametrize('named', configured_drivers_and_options.PLANES)
def test_a_plane_without_a_uri_goes_where_the_other_is(
    tmp_path: pathlib.Path, named: str
) -> None:
    text = f'{CHOSEN}[drivers:{named}:redis]\nuri = redis://a\n'
    assert set(uris(tmp_path, text).values()) == {'redis://a'}


def test_each_plane_has_its_own_uri_if_both_are_named(
    tmp_path: pathlib.Path,
) -> None:
    groups = [
        f'[drivers:{plane}:redis]\nuri = redis://{plane}\n'
        for plane in configured_drivers_and_options.PLANES
    ]
    assert uris(tmp_path, CHOSEN + ''.join(groups)) == {
        plane: f'redis://{plane}'
        for plane in configured_drivers_and_options.PLANES
    }


def test_without_any_uri_it_is_the_server_of_this_machine(
    tmp_path: pathlib.Path,
) -> None:
    assert set(uris(tmp_path, CHOSEN).values()) == {DEFAULT}


def test_every_option_tells_what_it_does() -> None:
    for opt in (*DRIVER.message_opts, *DRIVER.management_opts):
        assert opt.help and len(opt.help) > 30, opt.name


def run(program: str) -> str:
    """Return what a program in an interpreter of its own prints."""
    return subprocess.run(
        [sys.executable, '-c', program],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def test_a_service_on_another_store_needs_no_client_library() -> None:
    program = (
        'import sys; from zaqar.storage import installed_drivers; '
        'print("redis" in installed_drivers.installed(), '
        '"redis" in sys.modules)'
    )
    assert run(program) == 'True False'


def test_a_missing_client_library_is_told_in_one_line() -> None:
    program = (
        'import sys; sys.modules["redis"] = None\n'
        'from zaqar.errors import ConfigurationError\n'
        'from zaqar.storage.redis.driver_declaration import DRIVER\n'
        'try: DRIVER.open_messages("redis://127.0.0.1", {})\n'
        'except ConfigurationError as error: print(error)'
    )
    text = run(program)
    assert text.endswith("pip install 'redis[hiredis]'")
    assert '\n' not in text
