# SPDX-License-Identifier: Apache-2.0
"""Policies: the defaults of oslo.policy, derived from the operations."""

import argparse

from oslo_config import cfg
from oslo_policy import policy

from zaqar.api import operation_table
from zaqar.api.operation import ADMIN, PUBLIC, Operation, Rule

#: Helpers for operators' own rules.
HELPERS = (
    Rule('context_is_admin', ADMIN, 'Who counts as an administrator.'),
    Rule(
        'admin_or_owner',
        'is_admin:True or project_id:%(project_id)s',
        'An administrator, or a member of the project that is addressed.',
    ),
)


def rules() -> dict[Rule, list[Operation]]:
    """Return every policy rule with its operations."""
    by_rule: dict[Rule, list[Operation]] = {}
    for operation in operation_table.OPERATIONS:
        if operation.rule is not PUBLIC:
            by_rule.setdefault(operation.rule, []).append(operation)
    return by_rule


def list_rules() -> list[policy.RuleDefault]:
    """Return the policy defaults, for oslo.policy and its tools."""
    helpers = [
        policy.RuleDefault(rule.name, rule.default, rule.description)
        for rule in HELPERS
    ]
    documented = [
        policy.DocumentedRuleDefault(
            rule.name,
            rule.default,
            rule.description,
            [
                {'path': operation.path, 'method': operation.method}
                for operation in operations
                if operation.http
            ],
        )
        for rule, operations in rules().items()
    ]
    return [*helpers, *documented]


def get_enforcer() -> policy.Enforcer:
    """Return the effective policy, for oslo.policy's tools.

    They pass their whole command line; only options that name configuration
    files are read.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--config-file', action='append', default=[])
    parser.add_argument('--config-dir', action='append', default=[])
    files, _others = parser.parse_known_args()
    conf = cfg.ConfigOpts()
    conf(
        [],
        project='zaqar',
        default_config_files=files.config_file or None,
        default_config_dirs=files.config_dir or None,
    )
    return enforcer_of(conf)


def enforcer_of(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return the policy of a configuration: defaults and its own rules."""
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(list_rules())
    enforcer.load_rules()
    return enforcer
