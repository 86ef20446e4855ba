# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[sa.Engine]:
    """The engines of SQLAlchemy that are created in a test."""
    engines: list[sa.Engine] = []
    create = sa.create_engine

    def created(*args: Any, **options: Any) -> sa.Engine:
        engines.append(create(*args, **options))
        return engines[-1]

    monkeypatch.setattr(sa, 'create_engine', created)
    return engines
