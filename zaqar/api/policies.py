# SPDX-License-Identifier: Apache-2.0
"""Policy: defaults derived from the operations, and enforcement."""

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
        'An administrator, or a member of the project that is addressed.',
    ),
)

#: Seconds for which decisions are cached, hence the delay until a changed
#: policy file is effective.
CACHE_SECONDS = 5.0

#: Maximum of cached decisions: without Keystone, callers invent roles.
CACHE_SIZE = 10_000


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
    return _enforcer(conf)


def _enforcer(conf: cfg.ConfigOpts) -> policy.Enforcer:
    enforcer = policy.Enforcer(conf)
    enforcer.register_defaults(list_rules())
    enforcer.load_rules()
    return enforcer


class Authorizer:
    """Enforces the policy, and caches decisions that depend on roles alone."""

    def __init__(
        self, conf: cfg.ConfigOpts, timer: Callable[[], float] = time.monotonic
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
        """Enforce a rule.

        :raises Forbidden: the caller may not
        """
        if rule is PUBLIC:
            return
        if self._timer() >= self._until:
            self._reload()
        key = (rule.name, identity.roles)
        allowed = self._decisions.get(key)
        if allowed is None:
            allowed = self._enforce(rule, identity, scope, path)
            if self._is_cached(rule) and len(self._decisions) < CACHE_SIZE:
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
                # Whatever is wrong with the file, the old rules stay.
                LOG.exception('The policy file cannot be read again')
            self._decisions = {}
            self._until = self._timer() + CACHE_SECONDS

    def _enforce(
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

    def _is_cached(self, rule: Rule) -> bool:
        """Tell whether a rule depends on roles alone."""
        text = str(self._enforcer.rules.get(rule.name))
        words = text.replace('(', ' ').replace(')', ' ').split()
        return all(
            word in ('and', 'or', 'not', '@', '!')
            or (word.startswith('role:') and '%' not in word)
            for word in words
        )
