# SPDX-License-Identifier: Apache-2.0
"""Decisions of the policy."""

from __future__ import annotations

import datetime
import pathlib
import threading
from typing import Any

import pytest
from oslo_config import cfg
from oslo_policy import policy as oslo

from zaqar.api import operation_table
from zaqar.api.policy_enforcement import CACHE_SECONDS, Authorizer
from zaqar.errors import Forbidden
from zaqar.identity import Identity, SignedAccess
from zaqar.objects import Scope
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets

CREATE = operation_table.BY_ACTION['queue_create'].rule
LIST = operation_table.BY_ACTION['queue_list'].rule
HOME = operation_table.BY_ACTION['get_home_doc'].rule


class Policy:
    """An authorizer with a policy file and a timer of its own."""

    def __init__(self, folder: pathlib.Path, *, new: bool = False) -> None:
        self._file = folder / 'policy.yaml'
        self._file.write_text('{}\n')
        self.time = 100.0
        file = folder / 'zaqar.conf'
        file.write_text(
            f'[oslo_policy]\npolicy_file = {self._file}\n'
            f'enforce_new_defaults = {new}\n'
        )
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(file)])
        self._authorizer = Authorizer(conf, timer=lambda: self.time)

    def write(self, text: str) -> None:
        self._file.write_text(text)
        self.time += CACHE_SECONDS

    def allows(
        self, rule: object, *roles: str, project: str = 'p', **more: Any
    ) -> bool:
        identity = Identity(project, 'c', roles, **more)
        try:
            self._authorizer.check(
                rule,  # type: ignore[arg-type]
                identity,
                Scope(project, 'jobs'),
                {},
            )
        except Forbidden as error:
            assert error.title == 'Not authorized'
            return False
        return True


@pytest.fixture
def policy(tmp_path: pathlib.Path) -> Policy:
    return Policy(tmp_path)


def test_anyone_may_by_default(policy: Policy) -> None:
    assert policy.allows(CREATE)
    assert policy.allows(HOME)


def test_a_rule_of_the_file_counts_after_a_while(policy: Policy) -> None:
    assert policy.allows(CREATE, 'member')
    policy.write('"queues:create": "role:admin"\n')
    assert not policy.allows(CREATE, 'member')
    assert policy.allows(CREATE, 'member', 'admin')
    assert policy.allows(LIST, 'member')


def test_a_rule_may_look_at_the_project_and_the_queue(policy: Policy) -> None:
    policy.write('"queues:create": "project_id:%(project_id)s"\n')
    assert policy.allows(CREATE)
    policy.write('"queues:create": "\'jobs\':%(queue_name)s"\n')
    assert policy.allows(CREATE)
    policy.write('"queues:create": "\'other\':%(queue_name)s"\n')
    assert not policy.allows(CREATE)
    policy.write('"queues:create": "project_id:ops"\n')
    assert policy.allows(CREATE, project='ops')
    assert not policy.allows(CREATE, project='dev')


def test_administrators_are_known_to_rules(policy: Policy) -> None:
    policy.write('"queues:create": "rule:admin_or_owner and is_admin:True"\n')
    assert policy.allows(CREATE, 'admin')
    assert not policy.allows(CREATE, 'member')


POST = operation_table.BY_ACTION['message_post'].rule
SIGNED = SignedAccess(datetime.datetime.now(datetime.UTC))


@pytest.fixture
def strict(tmp_path: pathlib.Path) -> Policy:
    """A policy with the new defaults."""
    return Policy(tmp_path, new=True)


@pytest.mark.parametrize('new', [False, True])
def test_decisions_of_the_defaults_are_cached(
    tmp_path: pathlib.Path, new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy(tmp_path, new=new)
    for rule in (CREATE, LIST, POST):
        before = policy.allows(rule, 'member')
        with monkeypatch.context() as patched:
            patched.setattr(oslo.Enforcer, 'enforce', None)
            assert policy.allows(rule, 'member') is before is True


def test_a_signature_counts_apart_from_having_no_role(strict: Policy) -> None:
    for _ in range(2):
        assert not strict.allows(POST)
        assert strict.allows(POST, signed=SIGNED)
        assert not strict.allows(CREATE, signed=SIGNED)


@pytest.mark.parametrize('new', [False, True])
@pytest.mark.parametrize('scope', ['system_scope', 'domain_id'])
def test_other_scopes_than_a_project_are_refused_and_decide_for_none(
    tmp_path: pathlib.Path, new: bool, scope: str
) -> None:
    policy = Policy(tmp_path, new=new)
    for _ in range(2):
        assert not policy.allows(LIST, 'member', values={scope: 'all'})
        assert policy.allows(LIST, 'member', values={scope: None})
        assert policy.allows(LIST, 'member')


def test_operators_redefine_who_is_a_member(strict: Policy) -> None:
    assert not strict.allows(CREATE, 'developer')
    strict.write('"project_member": "role:developer"\n')
    assert strict.allows(CREATE, 'developer')
    assert strict.allows(LIST, 'developer')
    assert not strict.allows(CREATE, 'member')
    strict.write('"project_member": "project_id:p"\n')
    assert strict.allows(CREATE, 'other')
    assert not strict.allows(CREATE, 'other', project='q')


def test_no_event_loop_reads_the_file(
    tmp_path: pathlib.Path,
    greenlets: Greenlets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = Policy(tmp_path)
    readers: list[int] = []
    monkeypatch.setattr(
        oslo.Enforcer,
        'load_rules',
        lambda _: readers.append(threading.get_ident()),
    )
    greenlets.run(lambda: policy.allows(LIST))
    assert readers
    assert threading.get_ident() not in readers
