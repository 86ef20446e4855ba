# SPDX-License-Identifier: Apache-2.0
"""Enforcement of the policy on requests, with cached decisions."""

import datetime
import logging
import threading
import time
from collections.abc import Callable, Mapping, Set
from typing import Any

from oslo_config import cfg

from zaqar.api import oslo_policy_registration
from zaqar.api.operation import PUBLIC, FurtherRules, Rule
from zaqar.errors import Forbidden
from zaqar.event_loop_greenlets import offload
from zaqar.identity import Identity, SignedAccess
from zaqar.objects import Scope

LOG = logging.getLogger(__name__)

#: Seconds for which decisions are cached, hence the delay until a changed
#: policy file is effective.
CACHE_SECONDS = 5.0

#: Words of rules that stand for the same in each decision that is cached.
_CONSTANT = frozenset(('and', 'or', 'not', '@', '!', 'signed:True'))

#: Stands for the access of whoever holds a signature.
HELD = SignedAccess(datetime.datetime.max.replace(tzinfo=datetime.UTC))

#: The rule that tells administrators, as policies may refer to them.
_ADMIN = 'context_is_admin'

#: Maximum of cached decisions: without Keystone, callers invent roles.
CACHE_SIZE = 10_000


class Authorizer:
    """Enforces the policy, and caches decisions that depend on roles alone."""

    def __init__(
        self, conf: cfg.ConfigOpts, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._enforcer = oslo_policy_registration.enforcer_of(conf)
        self._timer = timer
        self._decisions: dict[tuple[str, tuple[str, ...], bool], bool] = {}
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
            # It reads files.
            offload(self._reload)
        values = identity.values
        if values and (values.get('system_scope') or values.get('domain_id')):
            # Its scope is not one of those that share decisions.
            allowed: bool | None = offload(
                self._enforce, rule, identity, scope, path
            )
        else:
            key = (rule.name, identity.roles, identity.signed is None)
            allowed = self._decisions.get(key)
            if allowed is None:
                allowed = self._decide(rule, identity, scope, path)
        if not allowed:
            raise Forbidden

    def allows(
        self, rule: Rule, identity: Identity, scope: Scope | None
    ) -> bool:
        """Tell whether a caller passes a rule about a queue."""
        try:
            self.check(rule, identity, scope, {})
        except Forbidden:
            return False
        return True

    def check_further(
        self,
        further: FurtherRules,
        identity: Identity,
        scope: Scope,
        document: Any,
    ) -> None:
        """Enforce the rules about what a document names.

        :raises Forbidden: the caller may not
        """
        for rule, reached in further.of(document, scope):
            if self.allows(rule, identity, reached):
                continue
            holder = Identity(identity.project, '', signed=HELD)
            # Nobody is given what nobody would get by it.
            if not further.delegates or self.allows(rule, holder, reached):
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

    def _decide(
        self,
        rule: Rule,
        identity: Identity,
        scope: Scope | None,
        path: Mapping[str, str],
    ) -> bool:
        """Enforce a rule, and remember what depends on roles alone."""
        # Those of a policy that is read meanwhile are others.
        decisions = self._decisions
        # It looks at the file, and may have another server decide.
        allowed = offload(self._enforce, rule, identity, scope, path)
        if len(decisions) < CACHE_SIZE and self._is_cached(
            rule.name, frozenset()
        ):
            key = (rule.name, identity.roles, identity.signed is None)
            decisions[key] = allowed
        return allowed

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
            'signed': identity.signed is not None,
        }
        credentials['is_admin'] = bool(
            self._enforcer.enforce(_ADMIN, target, credentials)
        )
        return bool(self._enforcer.enforce(rule.name, target, credentials))

    def _is_cached(self, name: str, within: Set[str]) -> bool:
        """Tell whether a rule depends on what decisions are cached by.

        :param within: names of the rules that refer to it
        """
        text = str(self._enforcer.rules.get(name))
        words = text.replace('(', ' ').replace(')', ' ').split()
        return name not in within and all(
            word in _CONSTANT
            or (word.startswith('role:') and '%' not in word)
            or (
                word.startswith('rule:')
                and self._is_cached(word[5:], within | {name})
            )
            for word in words
        )
