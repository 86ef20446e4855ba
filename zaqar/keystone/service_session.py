# SPDX-License-Identifier: Apache-2.0
"""A session for requests to Keystone by the user of the service."""

import contextlib
from typing import Any

from oslo_config import cfg

GROUP = 'keystone_authtoken'

#: Seconds after which a request to Keystone fails.
TIMEOUT = 10


def open_session(conf: cfg.ConfigOpts) -> Any:
    """Return a session, whose ``auth`` is None if no user is configured."""
    from keystoneauth1 import loading

    loading.register_auth_conf_options(conf, GROUP)
    for option in loading.get_session_conf_options():
        # keystonemiddleware has some of them too, with other texts.
        with contextlib.suppress(cfg.DuplicateOptError):
            conf.register_opt(option, GROUP)
    auth: Any = loading.load_auth_from_conf_options(conf, GROUP)
    return loading.load_session_from_conf_options(
        conf, GROUP, auth=auth, timeout=TIMEOUT
    )
