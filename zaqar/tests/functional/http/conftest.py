# SPDX-License-Identifier: Apache-2.0
"""The application, built as an operator's configuration says."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from zaqar import service
from zaqar.tests.functional.http.client import Api

MakeApi = Callable[..., Api]

#: What serves pools and flavors, to be continued in [DEFAULT].
POOLED = 'admin_mode = true\npooling = true\n'

VIRTUAL = '[pooling:catalog]\nenable_virtual_pool = true\n'


@pytest.fixture
def make_api(tmp_path: pathlib.Path) -> Iterator[MakeApi]:
    """A function that builds an application from configuration text."""
    built: list[service.Service] = []

    def make(text: str = '') -> Api:
        folder = tmp_path / str(len(built))
        folder.mkdir()
        file = folder / 'zaqar.conf'
        file.write_text(f'[DEFAULT]\nstate_path = {folder}\n{text}')
        conf = service.configuration(
            'zaqar-server', ['--config-file', str(file)]
        )
        built.append(service.Service(conf))
        return Api(built[-1])

    yield make
    for found in built:
        found.close()


@pytest.fixture
def whole(make_api: MakeApi) -> Api:
    """The application with all there is, for an administrator."""
    return make_api(POOLED + VIRTUAL).as_admin()


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """The application with default settings."""
    return make_api()
