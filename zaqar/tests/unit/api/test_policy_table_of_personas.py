# SPDX-License-Identifier: Apache-2.0
"""The guide's table of who may do what."""

from __future__ import annotations

import csv
import pathlib

from oslo_config import cfg

from zaqar.api import (
    operation_table,
    oslo_policy_registration,
    policy_table_of_personas,
)

GUIDE = pathlib.Path(__file__).parents[4] / 'doc/source/configuration'


def test_the_guide_has_the_table() -> None:
    # python -m zaqar.api.policy_table_of_personas >
    #     doc/source/configuration/roles.csv
    assert (
        GUIDE / 'roles.csv'
    ).read_text() == policy_table_of_personas.table()


def test_the_table_has_each_operation() -> None:
    lines = list(csv.DictReader(policy_table_of_personas.table().splitlines()))
    rows = [row.name for row in operation_table.OPERATIONS]
    assert [line['Action'] for line in lines] == rows


def test_without_the_new_defaults_all_but_administration_is_allowed() -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    oslo_policy_registration.set_defaults(conf)
    assert conf.oslo_policy.enforce_new_defaults is False
    passed = policy_table_of_personas.allowed(conf, new=False)
    rules = oslo_policy_registration.list_rules()
    changed = [rule.name for rule in rules if rule.deprecated_rule]
    for persona in (
        *policy_table_of_personas.PERSONAS,
        policy_table_of_personas.OTHER,
    ):
        for name in changed:
            assert (persona.name, name) in passed
    administrators = {
        who for who, rule in passed if rule in ('pools:create', 'health:get')
    }
    assert administrators == {'admin'}
