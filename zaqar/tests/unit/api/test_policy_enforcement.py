# SPDX-License-Identifier: Apache-2.0
"""Decisions of the policy."""

from __future__ import annotations

import pathlib

import pytest
from oslo_config import cfg

from zaqar.api import operation_table
from zaqar.api.policy_enforcement import CACHE_SECONDS, Authorizer
from zaqar.errors import Forbidden
from zaqar.models import Identity, Scope

CREATE = operation_table.BY_ACTION['queue_create'].rule
LIST = operation_table.BY_ACTION['queue_list'].rule
HOME = operation_table.BY_ACTION['get_home_doc'].rule


class Policy:
    """An authorizer with a policy file and a timer of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._file = folder / 'policy.yaml'
        self._file.write_text('{}\n')
        self.time = 100.0
        file = folder / 'zaqar.conf'
        file.write_text(f'[oslo_policy]\npolicy_file = {self._file}\n')
        conf = cfg.ConfigOpts()
        conf(['--config-file', str(file)])
        self._authorizer = Authorizer(conf, timer=lambda: self.time)

    def write(self, text: str) -> None:
        self._file.write_text(text)
        self.time += CACHE_SECONDS

    def allows(self, rule: object, *roles: str, project: str = 'p') -> bool:
        identity = Identity(project, 'c', roles)
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
