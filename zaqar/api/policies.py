# SPDX-License-Identifier: Apache-2.0
"""Policy defaults, read from the table, and the decision about a request."""

from __future__ import annotations

import argparse
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from zaqar.api import operation_table
from zaqar.api.operation import ADMIN, PUBLIC, Operation, Rule
from zaqar.errors import Forbidden
from zaqar.models import Identity, Scope

LOG = logging.getLogger(__name__)

#: Helpers for operators' own rules.
HELPERS = (
    Rule('context_is_admin', ADMIN, 'Who counts as an administrator.'),
    Rule(
        'admin_or_owner',
        'is_admin:True or project_id:%(project_id)s',
        'An administrator, or a member of the project that is asked about.',
    ),
)

#: Seconds for which a decision is remembered, and so the most it takes until
#: a changed policy file counts.
REMEMBERED = 5.0

#: Decisions kept at most: without Keystone, callers make up roles at will.
MOST_REMEMBERED = 10_000


def rules() -> dict[Rule, list[Operation]]:
    """Return every rule of the table with the operations under it."""
    found: dict[Rule, list[Operation]] = {}
    for operation in operation_table.OPERATIONS:
        if operation.rule is not PUBLIC:
            found.setdefault(operation.rule, []).append(operation)
    return found


def list_rules() -> list[policy.RuleDefault]:
    """Return the defaults, for oslo.policy and its tools."""
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

    They hand over their whole command line; only what names configuration
    files is ours.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--config-file', action='append', default=[])
    parser.add_argument('--config-dir', action='append', default=[])
    found, _others = parser.parse_known_args()
    conf = cfg.ConfigOpts()
    conf(
        [],
        project='zaqar',
        default_config_files=found.config_file or None,
        default_config_dirs=found.config_dir or None,
    )
    return _enforcer(conf)


def _enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(list_rules())
    enforcer.load_rules()
    return enforcer


class Authorizer:
    """Asks oslo.policy, and remembers answers that depend on roles alone.

    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enforcer = _enforcer(conf)
        self._timer = timer
        self._decisions: dict[tuple[str, Any], bool] = {}
        self._until = 0.0
        self._lock = threading.Lock()

    def check(
        self,
        rule: Rule,
        identity: Identity,
        scope: Scope | None,
        path: Mapping[str, str],
    ) -> None:
        """Return if the caller may.

        :raises Forbidden: may not
        """
        if rule is PUBLIC:
            return
        if self._timer() >= self._until:
            self._reload()
        key = (rule.name, identity.roles)
        allowed = self._decisions.get(key)
        if allowed is None:
            allowed = self._ask(rule, identity, scope, path)
            if self._general(rule) and len(self._decisions) < MOST_REMEMBERED:
                self._decisions[key] = allowed
        if not allowed:
            raise Forbidden

    def _reload(self) -> None:
        with self._lock:
            if self._timer() < self._until:
                return
            try:
                self._enforcer.load_rules()
            except Exception:
                # Whatever is wrong with the file: what held goes on.
                LOG.exception('The policy file cannot be read again')
            self._decisions = {}
            self._until = self._timer() + REMEMBERED

    def _ask(
        self,
        rule: Rule,
        identity: Identity,
        scope: Scope | None,
        path: Mapping[str, str],
    ) -> bool:
        target = {'project_id': identity.project, **path}
        if scope is not None:
            target[f'{scope.kind}_name'] = scope.name
        credentials = {
            **identity.values,
            'project_id': identity.project,
            'roles': list(identity.roles),
            'client_id': identity.client,
        }
        credentials['is_admin'] = bool(
            self._enforcer.enforce('context_is_admin', target, credentials)
        )
        return bool(self._enforcer.enforce(rule.name, target, credentials))

    def _general(self, rule: Rule) -> bool:
        """Tell whether a rule looks at nothing but roles."""
        return self._only_roles(str(self._enforcer.rules.get(rule.name)))

    def _only_roles(self, text: str) -> bool:
        words = text.replace('(', ' ').replace(')', ' ').split()
        return all(
            word in ('and', 'or', 'not', '@', '!')
            or (word.startswith('role:') and '%' not in word)
            for word in words
        )
