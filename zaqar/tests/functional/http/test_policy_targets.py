# SPDX-License-Identifier: Apache-2.0
"""Rules that operators write look at what is asked for: every row obeys."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import pytest

from zaqar.api import operation_table
from zaqar.api.operation import PUBLIC, Operation
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import EVERYTHING, MakeApi
from zaqar.tests.functional.http.test_table import EXCHANGES

# Nothing of this is a matter of the database.
pytestmark = pytest.mark.sqlite

RULED = [
    row
    for row in operation_table.OPERATIONS
    if row.http and row.rule is not PUBLIC
]

#: What the exchanges call the things they are about.
NAMES = {
    'queue_name': 'q',
    'topic_name': 'q',
    'pool_name': 'east',
    'flavor_name': 'fast',
}

NAMED = [
    pytest.param(row, name, id=f'{row.name}-{name}')
    for row in RULED
    for name in re.findall(r'{(\w+)}', row.path)
    if name in NAMES
]

each_rule = pytest.mark.parametrize('row', RULED, ids=lambda row: row.name)

#: What is the same for all rules, once each row is known to obey its own.
SOME = {'queue_create': 'queue_name', 'pool_delete': 'pool_name'}

some_rules = pytest.mark.parametrize(
    'row',
    [operation_table.BY_ACTION[name] for name in (*SOME, 'message_list')],
    ids=lambda row: row.name,
)

MakeRuled = Callable[[str, str], Api]


@pytest.fixture
def make_ruled(make_api: MakeApi, tmp_path: pathlib.Path) -> MakeRuled:
    """A function that builds an application with one rule of its own."""

    def make(rule: str, check: str) -> Api:
        file = tmp_path / 'policy.yaml'
        file.write_text(f'"{rule}": "{check}"\n')
        text = f'[oslo_policy]\npolicy_file = {file}\n'
        return make_api(EVERYTHING + text).as_admin()

    return make


def is_refused(api: Api, row: Operation) -> bool:
    """Tell whether a request is refused that would be granted otherwise."""
    answer = EXCHANGES[row.name](api.at(row.since))
    if row.method == 'HEAD':
        return answer.status == 403
    return answer.is_error(403, 'Not authorized')


def is_granted(api: Api, row: Operation) -> bool:
    """Tell whether a request is granted."""
    return EXCHANGES[row.name](api.at(row.since)).status in row.responses


@each_rule
def test_an_owners_rule_lets_only_the_owner_pass(
    make_ruled: MakeRuled, row: Operation
) -> None:
    # Where the path names a project, it is about that one.
    project = 'p' if '{project_id}' in row.path else 'ops'
    owner = f"project_id:%(project_id)s and '{project}':%(project_id)s"
    api = make_ruled(row.rule.name, owner)
    assert is_refused(api.as_project('dev'), row)
    assert is_granted(api.as_project(project), row)


@some_rules
def test_a_rule_may_ask_for_an_administrator_or_the_owner(
    make_ruled: MakeRuled, row: Operation
) -> None:
    api = make_ruled(row.rule.name, 'rule:admin_or_owner')
    assert is_granted(api, row)


@some_rules
def test_a_rule_may_refuse_everybody(
    make_ruled: MakeRuled, row: Operation
) -> None:
    assert is_refused(make_ruled(row.rule.name, '!'), row)


@some_rules
def test_a_rule_about_a_user_fails_for_whoever_has_none(
    make_ruled: MakeRuled, row: Operation
) -> None:
    api = make_ruled(row.rule.name, 'user_id:%(user_id)s')
    assert is_refused(api, row)


@pytest.mark.parametrize(('row', 'name'), NAMED)
def test_a_rule_may_look_at_what_is_asked_for(
    make_ruled: MakeRuled, row: Operation, name: str
) -> None:
    right = f"'{NAMES[name]}':%({name})s"
    assert is_granted(make_ruled(row.rule.name, right), row)


@pytest.mark.parametrize(('action', 'name'), SOME.items())
def test_a_rule_about_another_name_refuses(
    make_ruled: MakeRuled, action: str, name: str
) -> None:
    row = operation_table.BY_ACTION[action]
    wrong = f"'{NAMES[name]}-other':%({name})s"
    api = make_ruled(row.rule.name, wrong)
    assert is_refused(api, row)
