# SPDX-License-Identifier: Apache-2.0
"""Set-up of keystonemiddleware: checks of its options, a filter of its log.

It reads most of its options, and loads what they need, only to validate a
token: without the checks the service would start and then refuse every
request.
"""

import importlib.util
import logging

from keystoneauth1 import loading
from keystoneauth1.exceptions import ClientException
from keystonemiddleware import opts
from oslo_config import cfg

from zaqar.errors import ConfigurationError, one_line

GROUP = 'keystone_authtoken'


def prepare(conf: cfg.ConfigOpts) -> None:
    """Register the options, check the settings, shorten the log."""
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
        raise ConfigurationError(f'[{group}] {one_line(error)}') from None
    if plugin is None:
        raise ConfigurationError(
            f'[DEFAULT] auth_strategy = keystone needs [{group}]: set '
            'auth_type = password, auth_url, username, password, '
            'user_domain_name, project_name and project_domain_name'
        )


def _check_memcached(conf: cfg.ConfigOpts) -> None:
    settings = conf[GROUP]
    if not settings.memcached_servers:
        return
    is_pooled = settings.memcache_use_advanced_pool
    # As in keystonemiddleware.
    speaks_binary = settings.memcache_sasl_enabled or (
        is_pooled and settings.memcache_tls_enabled
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


class _OneLine(logging.Filter):
    """Reduces the log of a failure in keystonemiddleware to one line.

    When Keystone refuses the service's credentials it logs the answer twice,
    and then an error that names no option.
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
            'project in [keystone_authtoken]'
        )
    return f'No token can be validated: {text.partition(": ")[2]}'
