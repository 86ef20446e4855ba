# SPDX-License-Identifier: Apache-2.0
"""The version of the installed package."""

import importlib.metadata


def version_string() -> str:
    return importlib.metadata.version('zaqar')
