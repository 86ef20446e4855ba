# SPDX-License-Identifier: Apache-2.0
"""A client that openapi-python-client generates, against the service."""

from __future__ import annotations

import importlib
import inspect
import json
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from zaqar.api import openapi
from zaqar.tests.functional.http.client import CLIENT, PATCH
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

pytestmark = pytest.mark.sqlite

PROGRAM = 'openapi-python-client'

PACKAGE = 'generated_messaging'

#: What the guide for clients says.
CONFIG = {'content_type_overrides': {PATCH: 'application/json'}}

Operate = Callable[..., Any]


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zaqar]:
    started = Zaqar(
        tmp_path_factory.mktemp('zaqar'),
        general=POOLED,
        rest=VIRTUAL,
    ).start()
    yield started
    started.stop()


@pytest.fixture(scope='module')
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the generator prints; its package can be imported."""
    if shutil.which(PROGRAM, path=str(pathlib.Path(sys.executable).parent)):
        folder = tmp_path_factory.mktemp('generated')
    else:
        process.missing(f'{PROGRAM} is not installed')
    document, config = folder / 'openapi.json', folder / 'config.yaml'
    document.write_text(json.dumps(openapi.document()))
    config.write_text(yaml.safe_dump({**CONFIG, 'post_hooks': []}))
    done = subprocess.run(
        [
            str(pathlib.Path(sys.executable).parent / PROGRAM),
            'generate',
            f'--path={document}',
            f'--config={config}',
            '--meta=none',
            f'--output-path={folder / PACKAGE}',
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    sys.path.insert(0, str(folder))
    yield done.stdout + done.stderr
    sys.path.remove(str(folder))


@pytest.fixture
def operate(generated: str, server: Zaqar, project: str) -> Operate:
    """Call an operation by its module; return status and document."""
    client = importlib.import_module(PACKAGE).Client(
        base_url=server.url,
        headers={'X-Roles': 'admin'},
        raise_on_unexpected_status=True,
    )

    def call(module: str, *path: str, **more: Any) -> tuple[int, Any]:
        function = importlib.import_module(f'{PACKAGE}.api.{module}')
        kinds = inspect.get_annotations(function.sync_detailed, eval_str=True)
        assert kinds['client_id'] is str
        answer = function.sync_detailed(
            *path,
            client=client,
            client_id=CLIENT,
            x_project_id=project,
            **more,
        )
        return int(answer.status_code), answer.parsed

    return call


@pytest.fixture
def project() -> str:
    return 'of-generated-clients'


def model(name: str, value: Any) -> Any:
    """Make what a generated operation takes."""
    cls = getattr(importlib.import_module(f'{PACKAGE}.models'), name)
    return cls.from_dict(value)


def test_all_operations_are_generated(generated: str) -> None:
    # Of the home document alone it does not know that its type is JSON.
    assert generated.count('WARNING parsing') == 1, generated
    assert 'Unsupported content_type application/json-home' in generated
    assert 'ERROR' not in generated


def test_messages_are_posted_claimed_and_deleted(operate: Operate) -> None:
    posted = model('MessagePostBody', {'messages': [{'body': {'a': 1}}]})
    status, answer = operate('message.message_post', 'jobs', body=posted)
    assert (status, len(answer.resources)) == (201, 1)

    options = model('ClaimCreateBody', {'ttl': 60, 'grace': 60})
    status, claimed = operate('claim.claim_create', 'jobs', body=options)
    assert status == 201
    (message,) = claimed.messages
    assert message.body == {'a': 1}

    claim = message.href.partition('claim_id=')[2]
    gone = operate(
        'message.message_delete', 'jobs', message.id, claim_id=claim
    )
    assert gone[0] == 204


def test_metadata_is_patched(operate: Operate) -> None:
    operate('queue.queue_create', 'jobs', body=model('QueueCreateBody', {}))
    step = {'op': 'add', 'path': '/metadata/owner', 'value': 'ops'}
    patch = [model('QueueUpdateBodyItem', step)]
    status, metadata = operate('queue.queue_update', 'jobs', body=patch)
    assert (status, metadata['owner']) == (200, 'ops')


def test_flavors_are_typed(operate: Operate, tmp_path: pathlib.Path) -> None:
    uri = f'sqlite:///{tmp_path}/pool.sqlite'
    pool = model('PoolCreateBody', {'uri': uri, 'weight': 1})
    assert operate('pool.pool_create', 'pool', body=pool)[0] == 201
    flavor = model('FlavorCreateBody', {'pool_list': ['pool']})
    assert operate('flavor.flavor_create', 'fast', body=flavor)[0] == 201
    status, listed = operate('flavor.flavor_list', detailed=True)
    assert status == 200
    assert [one.name for one in listed.flavors] == ['fast']
    assert all(isinstance(one, str) for one in listed.flavors[0].capabilities)


def test_the_server_is_where_the_document_is() -> None:
    (server,) = openapi.document()['servers']
    assert server == {'url': '../'}
