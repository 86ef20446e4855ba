# SPDX-License-Identifier: Apache-2.0
"""A database of each server."""

from collections.abc import Iterator

import pytest

from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.sqlalchemy import migrations
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER, parse


@pytest.fixture(params=['mariadb', 'postgresql'])
def uri(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with tables."""
    server = request.getfixturevalue(request.param)
    uri = server.database()
    migrations.upgrade(parse(uri), 'head')
    yield uri
    server.drop(uri)


@pytest.fixture
def store(uri: str) -> Iterator[MessageStore]:
    """A store of messages in it."""
    store = DRIVER.open_messages(uri, {})
    yield store
    store.close()
