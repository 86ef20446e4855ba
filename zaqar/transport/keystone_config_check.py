# SPDX-License-Identifier: Apache-2.0
"""What is wrong with ``[keystone_authtoken]``, known before the first request.

keystonemiddleware looks at most of its options, and loads what they need, only
once a token is to be validated: a service that lacks them would start and then
fail for everybody.
"""

from __future__ import annotations

import importlib.util
import logging

from keystoneauth1 import loading
from keystoneauth1.exceptions import ClientException
from keystonemiddleware import opts
from oslo_config import cfg

from zaqar.errors import ConfigurationError

GROUP = 'keystone_authtoken'


class _OneLine(logging.Filter):
    """Makes one line of what keystonemiddleware says of a failure.

    Of one request that Keystone refuses for our credentials it logs the answer
    twice and then, without naming an option, that there was one.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith('Identity response: '):
            return False
        if text.startswith('Unable to validate token: '):
            record.msg, record.args = '%s', (_explained(text),)
        return True


_ONE_LINE = _OneLine()


def _explained(text: str) -> str:
    if 'rejected authorization' in text:
        return (
            'Keystone refuses the credentials of this service; no token can '
            'be validated. Check username, password, their domain and the '
            f'project in [{GROUP}]'
        )
    return f'No token can be validated: {text.partition(": ")[2]}'


def prepare(conf: cfg.ConfigOpts) -> None:
    """Check the settings and make failures short to read.

    :raises ConfigurationError: tokens could not be validated like this
    """
    logging.getLogger('keystonemiddleware.auth_token').addFilter(_ONE_LINE)
    for group, options in opts.list_auth_token_opts():
        conf.register_opts(options, group)
    loading.register_auth_conf_options(conf, GROUP)
    _check_credentials(conf)
    _check_memcached(conf)


def _check_credentials(conf: cfg.ConfigOpts) -> None:
    group = conf[GROUP].auth_section or GROUP
    try:
        plugin = loading.load_auth_from_conf_options(conf, GROUP)
    except (cfg.TemplateSubstitutionError, cfg.NoSuchOptError):
        raise ConfigurationError(
            f'[{group}] a dollar sign refers to another option; write $$ for '
            'the character itself'
        ) from None
    except ClientException as error:
        reason = ' '.join(str(error).split())
        raise ConfigurationError(f'[{group}] {reason}') from None
    if plugin is None:
        raise ConfigurationError(
            f'[DEFAULT] auth_strategy = keystone needs [{group}]: set '
            'auth_type = password, auth_url, username, password, '
            'user_domain_name, project_name and project_domain_name'
        )


def _check_memcached(conf: cfg.ConfigOpts) -> None:
    given = conf[GROUP]
    if not given.memcached_servers:
        return
    is_pooled = given.memcache_use_advanced_pool
    # As keystonemiddleware chooses.
    speaks_binary = given.memcache_sasl_enabled or (
        is_pooled and given.memcache_tls_enabled
    )
    module, package = (
        ('bmemcached', 'python-binary-memcached')
        if speaks_binary
        else ('memcache', 'python-memcached')
    )
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(
            f'[{GROUP}] memcached_servers needs the library {package}, which '
            'is not installed'
        )
