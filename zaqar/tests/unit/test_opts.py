# SPDX-License-Identifier: Apache-2.0
"""Options are documented, and all of them are in the sample."""

from __future__ import annotations

import pytest
from oslo_config import cfg

from zaqar import opts
from zaqar.controllers.limits import Limits

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


def test_defaults_of_limits_are_those_of_the_options() -> None:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar-test')
    assert Limits.from_conf(conf) == Limits()
