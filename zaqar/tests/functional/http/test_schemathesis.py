# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document and the service agree, whatever is generated."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from zaqar import config_loading, service_assembly
from zaqar.api import operation_table
from zaqar.api.operation import Operation
from zaqar.tests.functional.http.client import CLIENT, PATCH
from zaqar.tests.functional.http.engines import Engine
from zaqar.tests.functional.http.test_fuzz import ALL

pytestmark = pytest.mark.sqlite

CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
]

HEADERS = {'Client-ID': CLIENT, 'X-Project-ID': 'p', 'X-Roles': 'admin'}


@schemathesis.serializer(PATCH)
def _as_json(_context: Any, value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture(scope='module')
def document(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine
) -> Iterator[Any]:
    """The document as the application gives it, bound to it."""
    folder: pathlib.Path = tmp_path_factory.mktemp('schemathesis')
    file = folder / 'zaqar.conf'
    text = f'{ALL}{engine.place(str(folder))}'
    file.write_text(f'[DEFAULT]\nstate_path = {folder}\n{text}')
    conf = config_loading.load('zaqar-server', ['--config-file', str(file)])
    built = service_assembly.Service(conf)
    yield schemathesis.openapi.from_wsgi(
        '/v2/openapi.json', built.application()
    )
    built.close()
    engine.clean(str(folder))


@pytest.mark.parametrize(
    'row',
    [row for row in operation_table.OPERATIONS if row.http],
    ids=lambda row: row.name,
)
def test_generated_requests(document: Any, row: Operation) -> None:
    operation = document[row.path][row.method]

    @settings(
        max_examples=60,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case: schemathesis.Case) -> None:
        answer = case.call(headers=HEADERS)
        case.validate_response(answer, checks=CHECKS)

    run()
