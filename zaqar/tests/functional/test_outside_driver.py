# SPDX-License-Identifier: Apache-2.0
"""A driver from elsewhere, installed as any package, found by its name."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
import requests

from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

_EXAMPLE = pathlib.Path(__file__).parents[3] / 'examples'

#: A part of the contract suite; all of it takes minutes.
_PART = (
    'test_availability or test_bodies or test_deleting or test_duplicates or '
    'test_inspection or test_management or test_opening or test_posting or '
    'test_settling or test_stats or test_sweeping'
)

_STORES = """
[drivers]
message_store = example
[drivers:message_store:example]
uri = example://127.0.0.1:{port}/zaqar
"""


@pytest.fixture(scope='module')
def installed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, str]:
    """Install the driver in a folder; return the environment that finds it."""
    folder = tmp_path_factory.mktemp('installed')
    # Building leaves things behind beside the source.
    source = folder / 'source'
    shutil.copytree(_EXAMPLE / 'zaqar-driver-example', source)
    target = folder / 'site'
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps']
    done = subprocess.run(
        [*pip, '--target', str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if 'No matching distribution' in done.stderr:
        process.missing('there is no package index to get setuptools from')
    assert done.returncode == 0, done.stderr
    return {**os.environ, 'PYTHONPATH': str(target)}


def run(
    installed: Mapping[str, str], *command: str
) -> subprocess.CompletedProcess[str]:
    """Run a module of Python where the driver is installed."""
    return subprocess.run(
        [sys.executable, '-m', *command],
        env=installed,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_the_contract_suite_of_the_package_runs_over_it(
    installed: Mapping[str, str], tmp_path: pathlib.Path
) -> None:
    done = run(
        installed,
        *('pytest', '-q', '-p', 'zaqar_example.harness'),
        *('-p', 'no:cacheprovider', '--rootdir', str(tmp_path)),
        *('--pyargs', 'zaqar.tests.contract'),
        *('-k', f'example and ({_PART})'),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ' passed' in done.stdout
    assert ' failed' not in done.stdout


@pytest.fixture
def memory(installed: Mapping[str, str]) -> Iterator[int]:
    """The driver's server; its port."""
    port = process.free_port()
    with subprocess.Popen(
        [sys.executable, '-m', 'zaqar_example.server', '--port', str(port)],
        env=installed,
    ) as server:
        yield port
        server.kill()


def test_the_service_starts_on_it_by_its_name_alone(
    installed: Mapping[str, str],
    memory: int,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('PYTHONPATH', installed['PYTHONPATH'])
    server = Zaqar(tmp_path, rest=_STORES.format(port=memory)).start()
    try:
        headers = {
            'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
            'X-Project-ID': 'p',
        }
        url = f'{server.url}/v2/queues/q/messages'
        posted = requests.post(
            url,
            json={'messages': [{'body': 'a'}]},
            headers=headers,
            timeout=60,
        )
        assert posted.status_code == 201, posted.text
        answer = requests.get(f'{url}?echo=true', headers=headers, timeout=60)
        assert [item['body'] for item in answer.json()['messages']] == ['a']
    finally:
        server.stop()


def test_its_options_are_listed(installed: Mapping[str, str]) -> None:
    done = run(installed, 'oslo_config.generator', '--namespace', 'zaqar')
    assert '[drivers:message_store:example]' in done.stdout, done.stderr
