# SPDX-License-Identifier: Apache-2.0
"""Enforcement of the policy on requests, with cached decisions."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from oslo_config import cfg

from zaqar.api import policies
from zaqar.api.operation import PUBLIC, Rule
from zaqar.errors import Forbidden
from zaqar.models import Identity, Scope

LOG = logging.getLogger(__name__)

#: Seconds for which decisions are cached, hence the delay until a changed
#: policy file is effective.
CACHE_SECONDS = 5.0

#: Maximum of cached decisions: without Keystone, callers invent roles.
CACHE_SIZE = 10_000


class Authorizer:
    """Enforces the policy, and caches decisions that depend on roles alone."""

    def __init__(
        self, conf: cfg.ConfigOpts, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._enforcer = policies.enforcer_of(conf)
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
