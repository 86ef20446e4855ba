# SPDX-License-Identifier: Apache-2.0
"""Options are documented, and all of them are in the sample."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import types
from collections.abc import Callable, Iterator

import pytest
from oslo_config import cfg

import zaqar
from zaqar import opts
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.notification import settings as notification
from zaqar.transport.websocket import settings as websocket

EACH = [
    pytest.param(group, option, id=f'{group}.{option.dest}')
    for group, options in opts.list_opts()
    for option in options
]


@pytest.mark.parametrize(('group', 'option'), EACH)
def test_each_option_says_what_it_does(group: str, option: cfg.Opt) -> None:
    assert option.help
    assert option.help.rstrip().endswith('.')
    assert '  ' not in option.help


def test_no_option_is_listed_twice() -> None:
    names = [(param.values[0], param.values[1].dest) for param in EACH]
    assert len(set(names)) == len(names)


def test_names_are_those_of_existing_configurations() -> None:
    names = {(param.values[0], param.values[1].dest) for param in EACH}
    assert {
        ('DEFAULT', 'admin_mode'),
        ('DEFAULT', 'auth_strategy'),
        ('DEFAULT', 'enable_checksum'),
        ('DEFAULT', 'pooling'),
        ('DEFAULT', 'state_path'),
        ('drivers', 'transport'),
        ('drivers', 'message_store'),
        ('drivers', 'management_store'),
        ('drivers:transport:wsgi', 'bind'),
        ('drivers:transport:wsgi', 'port'),
        ('drivers:transport:wsgi', 'workers'),
        ('drivers:transport:wsgi', 'threads'),
        ('drivers:transport:wsgi', 'backlog'),
        ('drivers:management_store:sqlalchemy', 'uri'),
        ('drivers:message_store:sqlalchemy', 'uri'),
        ('drivers:message_store:sqlalchemy', 'group_commit_window_ms'),
        ('drivers:message_store:sqlalchemy', 'sqlite_synchronous'),
        ('transport', 'default_message_ttl'),
        ('transport', 'default_message_delay'),
        ('transport', 'default_claim_ttl'),
        ('transport', 'default_claim_grace'),
        ('transport', 'max_queues_per_page'),
        ('transport', 'max_pools_per_page'),
        ('transport', 'max_flavors_per_page'),
        ('transport', 'max_messages_per_page'),
        ('transport', 'max_messages_per_claim_or_pop'),
        ('transport', 'max_queue_metadata'),
        ('transport', 'max_messages_post_size'),
        ('transport', 'max_message_ttl'),
        ('transport', 'max_message_delay'),
        ('transport', 'max_claim_ttl'),
        ('transport', 'max_claim_grace'),
        ('transport', 'default_subscription_ttl'),
        ('transport', 'max_subscriptions_per_page'),
        ('transport', 'subscriber_types'),
        ('transport', 'max_messages_per_queue'),
        ('transport', 'client_id_uuid_safe'),
        ('transport', 'min_length_client_id'),
        ('transport', 'max_length_client_id'),
        ('transport', 'message_delete_with_claim_id'),
        ('gc', 'interval'),
        ('gc', 'batch'),
        ('pooling:catalog', 'enable_virtual_pool'),
    } <= names


#: Options of commands, which belong to no file, and those of a library.
NOT_GATHERED = {
    'zaqar.bench.command_line_options.OPTS',
    'zaqar.cmd.gc.CLI_OPTS',
    'zaqar.cmd.notifier.CLI_OPTS',
    'zaqar.osprofiler_tracing.LIBRARY_OPTS',
}

#: Modules that do something when they are imported.
NOT_IMPORTED = (
    'zaqar.storage.sqlalchemy.migrations.',
    'zaqar.tests',
    'zaqar.transport.wsgi.app',
)


def test_each_option_of_each_module_is_gathered() -> None:
    gathered = {id(param.values[1]) for param in EACH}
    left_out = {
        f'{module.__name__}.{name}'
        for module in _modules()
        for name, value in vars(module).items()
        for option in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(option, cfg.Opt) and id(option) not in gathered
    }
    assert left_out == NOT_GATHERED


def _modules() -> Iterator[types.ModuleType]:
    for module in pkgutil.walk_packages(zaqar.__path__, 'zaqar.'):
        if not module.name.startswith(NOT_IMPORTED):
            yield importlib.import_module(module.name)


@pytest.mark.parametrize(
    'read',
    [
        lambda conf: (Limits.from_conf(conf), Limits()),
        lambda conf: (
            dataclasses.replace(
                notification.NotificationSettings.from_conf(conf), conf=None
            ),
            notification.NotificationSettings(),
        ),
        lambda conf: (
            dataclasses.replace(
                websocket.from_conf(conf, Limits()),
                node_id='',
                max_frame_size=0,
            ),
            websocket.Settings(),
        ),
    ],
)
def test_defaults_of_settings_are_those_of_options(
    read: Callable[[cfg.ConfigOpts], tuple[object, object]],
) -> None:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar-test')
    loaded, preset = read(conf)
    assert loaded == preset
