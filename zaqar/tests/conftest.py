# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare our marker."""
    config.addinivalue_line(
        'markers',
        'proves(rule): fails when this security rule is broken; the rules '
        'are in doc/source/contributor/security_rules.rst',
    )
