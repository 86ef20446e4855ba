# SPDX-License-Identifier: Apache-2.0
"""The installed storage drivers, which are entry points."""

from collections.abc import Mapping
from typing import Any, cast

from stevedore import ExtensionManager

from zaqar.errors import ConfigurationError
from zaqar.storage.driver_declaration import Driver

NAMESPACE = 'zaqar.storage'


def installed() -> Mapping[str, Driver]:
    extensions: ExtensionManager[Any] = ExtensionManager(
        NAMESPACE, on_load_failure_callback=_complain
    )
    return {item.name: cast(Driver, item.plugin) for item in extensions}


def _complain(_manager: Any, entry_point: Any, error: BaseException) -> None:
    raise ConfigurationError(
        f'the storage driver "{entry_point.name}" cannot be loaded: {error}'
    )
