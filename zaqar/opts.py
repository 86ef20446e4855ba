# SPDX-License-Identifier: Apache-2.0
"""The options of all modules, for the sample configuration."""

from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log
from oslo_middleware import cors

from zaqar import expired_data_sweeper, metrics, osprofiler_tracing, state_path
from zaqar.api import optional_features, oslo_policy_registration
from zaqar.cmd import server as cmd_server
from zaqar.controllers import (
    api_limits_and_defaults,
    configured_quotas,
    message_encryption,
    pipeline_and_confirmation_settings,
    rate_limits,
    url_signatures,
)
from zaqar.notification import settings as notification
from zaqar.pools import pool_selection
from zaqar.storage import (
    configured_drivers_and_options,
    installed_drivers,
    store_opener,
)
from zaqar.transport import caller_identity
from zaqar.transport.sqs import settings as sqs
from zaqar.transport.websocket import settings as websocket
from zaqar.transport.wsgi import (
    console_page,
    middleware,
    v1_1_compat,
    waiting_requests_in_threads,
)
from zaqar.transport.wsgi.server import http_server as wsgi_server

Group = tuple[str, Sequence[cfg.Opt]]


def list_opts(*, of_plugins: bool = True) -> list[Group]:
    """Return every option with its group.

    :param of_plugins: also those of keystoneauth, which is loaded for them
    """
    general = [
        *caller_identity.OPTS,
        *cmd_server.CLI_OPTS,
        optional_features.POOLING,
        optional_features.DEPRECATED_VERSIONS,
        *state_path.OPTS,
        *configured_drivers_and_options.GENERAL_OPTS,
        *api_limits_and_defaults.OPTS[None],
    ]
    return [
        ('DEFAULT', general),
        (
            api_limits_and_defaults.GROUP,
            [
                *api_limits_and_defaults.OPTS[api_limits_and_defaults.GROUP],
                *message_encryption.OPTS,
            ],
        ),
        (
            configured_drivers_and_options.GROUP,
            [*cmd_server.DRIVERS_OPTS, *configured_drivers_and_options.OPTS],
        ),
        (
            wsgi_server.GROUP,
            [
                *wsgi_server.OPTS,
                *v1_1_compat.OPTS,
                *waiting_requests_in_threads.OPTS,
            ],
        ),
        (console_page.GROUP, console_page.OPTS),
        (websocket.GROUP, websocket.OPTS),
        (sqs.GROUP, sqs.OPTS),
        (url_signatures.GROUP, url_signatures.OPTS),
        (configured_quotas.GROUP, configured_quotas.OPTS),
        (rate_limits.GROUP, rate_limits.OPTS),
        (
            pipeline_and_confirmation_settings.GROUP,
            pipeline_and_confirmation_settings.OPTS,
        ),
        (notification.GROUP, notification.OPTS),
        *(_of_trustee() if of_plugins else ()),
        (expired_data_sweeper.GROUP, expired_data_sweeper.OPTS),
        (
            pool_selection.GROUP,
            [*pool_selection.OPTS, *store_opener.POOL_OPTS],
        ),
        (osprofiler_tracing.GROUP, osprofiler_tracing.OPTS),
        (metrics.GROUP, metrics.OPTS),
        *_drivers(),
    ]


def _of_trustee() -> list[Group]:
    from zaqar.keystone import trusts

    return [(trusts.GROUP, trusts.trustee_opts())]


def _drivers() -> list[Group]:
    installed = installed_drivers.installed()
    return [
        (
            f'{configured_drivers_and_options.GROUP}:{plane}:{name}',
            configured_drivers_and_options.opts_of(installed[name], plane),
        )
        for plane in configured_drivers_and_options.PLANES
        for name in sorted(installed)
    ]


def set_defaults() -> None:
    """Set our defaults of options of libraries, for the sample."""
    from keystonemiddleware import auth_token

    from zaqar.transport import token_validation as tokens

    cors.set_defaults(**middleware.CORS_DEFAULTS)
    for _, opts in auth_token.AUTH_TOKEN_OPTS:
        cfg.set_defaults(opts, **tokens.DEFAULTS)
    oslo_policy_registration.set_defaults(cfg.ConfigOpts())
    log.set_defaults()
