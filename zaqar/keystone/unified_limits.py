# SPDX-License-Identifier: Apache-2.0
"""Limits of projects in Keystone ("unified limits"), by oslo.limit."""

import threading
import time
from collections.abc import Callable
from typing import Any

import openstack
from oslo_config import cfg
from oslo_limit import limit, opts

from zaqar.controllers.configured_quotas import Limits
from zaqar.controllers.quota_limit_sources import LimitsUnavailable
from zaqar.controllers.quota_limits_cache import AGAIN, FRESH
from zaqar.errors import one_line

GROUP = 'oslo_limit'

#: Seconds after which a request to Keystone fails, unless configured.
TIMEOUT = 10


class KeystoneLimits:
    """Limits that are registered for this service, and those of projects.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        _use(conf)
        self._timer = timer
        self._lock = threading.Lock()
        self._enforcer: Any = None
        self._registered: Limits = {}
        self._until = 0.0
        self._silent_until = 0.0

    def limits(self, project: str) -> Limits:
        """Return the limits of a project.

        :raises LimitsUnavailable: Keystone does not respond, or refuses it
        """
        try:
            with self._lock:
                # Others have waited for it in vain, perhaps meanwhile.
                if self._timer() < self._silent_until:
                    raise LimitsUnavailable(
                        'Keystone did not respond', self._registered
                    )
                if self._enforcer is None:
                    # It asks Keystone for its model and our endpoint.
                    self._enforcer = limit.Enforcer(_no_usage, cache=False)
                if self._timer() >= self._until:
                    # Of all projects.
                    registered = self._enforcer.get_registered_limits(None)
                    self._registered = dict(registered)
                    self._until = self._timer() + FRESH
            own = self._enforcer.get_project_limits(project, None)
        except LimitsUnavailable:
            raise
        except Exception as error:
            # Whatever the libraries raise.
            self._silent_until = self._timer() + AGAIN
            raise LimitsUnavailable(
                f'Keystone: {one_line(error)}', self._registered
            ) from error
        return {**self._registered, **dict(own)}


def identity(conf: cfg.ConfigOpts, cloud: str | None) -> Any:
    """Return the API of Keystone, by openstacksdk.

    :param cloud: of clouds.yaml, None for the user of ``[oslo_limit]``
    """
    if cloud is not None:
        return openstack.connect(cloud=cloud).identity
    _use(conf)
    return limit.Enforcer(_no_usage, cache=False).connection


def endpoint_id(conf: cfg.ConfigOpts) -> str | None:
    """Return the id of our endpoint, None if it is not configured."""
    _use(conf)
    name: str | None = conf[GROUP].endpoint_id
    return name


def _use(conf: cfg.ConfigOpts) -> None:
    # The library reads a configuration of the process, which is not ours.
    limit.CONF = opts.CONF = conf
    opts.register_opts(conf)
    conf.set_default('timeout', TIMEOUT, GROUP)


def _no_usage(project: str | None, names: Any) -> dict[str, int]:
    """Return what the library never asks us for."""
    return {}
