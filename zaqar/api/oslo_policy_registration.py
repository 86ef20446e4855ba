# SPDX-License-Identifier: Apache-2.0
"""Registration of policy rules with oslo.policy: an enforcer and its tools."""

import argparse
from typing import Any

from oslo_config import cfg
from oslo_policy import opts, policy

from zaqar.api import operation_table
from zaqar.api.operation import ADMIN, ANYONE, PUBLIC, Operation, Rule
from zaqar.api.policy_base_rules import HELPERS

#: Our defaults of oslo.policy's options. It has True: whoever replaces another
#: service, in which roles counted for nothing, would be locked out.
OPTION_DEFAULTS: dict[str, Any] = {'enforce_new_defaults': False}

#: Data belong to projects, which tokens of domains and of the system lack.
_SCOPE_TYPES = ['project']

_SINCE = '2.1'
_REASON = (
    'Rules know the roles of secure RBAC: a reader looks, a member changes.'
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
            deprecated_rule=_former(rule),
            scope_types=_SCOPE_TYPES,
        )
        for rule, operations in rules().items()
    ]
    return [*helpers, *documented]


def _former(rule: Rule) -> policy.DeprecatedRule | None:
    """Return the default from before roles counted, None if it is the same.

    Every caller with a token could do all but administer the service.
    """
    if rule.default in (ANYONE, ADMIN):
        return None
    return policy.DeprecatedRule(
        rule.name, ANYONE, deprecated_reason=_REASON, deprecated_since=_SINCE
    )


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


def set_defaults(conf: cfg.ConfigOpts) -> None:
    """Register oslo.policy's options with our defaults."""
    opts.set_defaults(conf, **OPTION_DEFAULTS)


def enforcer_of(conf: cfg.ConfigOpts) -> policy.Enforcer:
    """Return the policy of a configuration: defaults and its own rules."""
    set_defaults(conf)
    enforcer = policy.Enforcer(conf)
    # zaqar-status says what changes with them, and for whom.
    enforcer.suppress_default_change_warnings = True
    enforcer.register_defaults(list_rules())
    enforcer.load_rules()
    return enforcer
