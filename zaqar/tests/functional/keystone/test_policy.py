# SPDX-License-Identifier: Apache-2.0
"""Rules judge the roles and the user of the token."""

from __future__ import annotations

import pytest

from zaqar.tests.functional.keystone.callers import Caller, join
from zaqar.tests.functional.keystone.conftest import Start
from zaqar.tests.servers.keystone import Keystone

#: Headers of an administrator, by every name they have had.
FORGED = {
    'X-Roles': 'admin',
    'X_Roles': 'admin',
    'X-Role': 'admin',
    'X-Is-Admin-Project': 'True',
    'X-Identity-Status': 'Confirmed',
    'X-Service-Roles': 'admin',
    'OpenStack-System-Scope': 'all',
}


@pytest.mark.proves('verified identity')
@pytest.mark.parametrize('headers', [{}, FORGED], ids=['plain', 'forged'])
def test_an_admins_rule_lets_only_admins_pass(
    start: Start,
    member: Caller,
    admin: Caller,
    queue: str,
    headers: dict[str, str],
) -> None:
    origin = start('"queues:create": "role:admin"')

    refused = member.at(origin).make(queue, headers)
    passed = admin.at(origin).make(queue)

    assert refused.status_code == 403
    assert refused.json()['title'] == 'Not authorized'
    assert passed.status_code == 201


def test_roles_of_another_project_do_not_count(
    keystone: Keystone, start: Start, member: Caller, queue: str
) -> None:
    origin = start('"queues:create": "role:admin"')
    user = keystone.user(member.project, 'member')
    elsewhere = keystone.project()
    keystone.grant(user, elsewhere, 'admin')

    def status(project: str) -> int:
        caller = Caller(origin, keystone.token(user, project))
        forged = {'X-Project-ID': elsewhere}
        return caller.make(queue, forged).status_code

    assert status(member.project) == 403
    assert status(elsewhere) == 201


def test_a_rule_may_compare_the_callers_project(
    start: Start, member: Caller, stranger: Caller
) -> None:
    origin = start(
        '"queues:get_all": "project_id:%(project_id)s"\n'
        f'"ping:get": "\'{member.project}\':%(project_id)s"'
    )

    def status(caller: Caller, path: str, project: str) -> int:
        forged = {'X-Project-ID': project}
        return caller.at(origin).ask('GET', path, forged).status_code

    assert status(member, '/v2/queues', stranger.project) == 200
    assert status(stranger, '/v2/queues', member.project) == 200
    assert status(member, '/v2/ping', stranger.project) == 204
    assert status(stranger, '/v2/ping', member.project) == 403


def test_a_rule_may_name_the_user(
    keystone: Keystone, start: Start, member: Caller
) -> None:
    user = keystone.user(member.project, 'member')
    origin = start(f'"queues:get_all": "user_id:{user.id}"')
    named = Caller(origin, keystone.token(user, member.project))
    forged = {'X-User-Id': user.id, 'X-User': user.id}

    other = member.at(origin).ask('GET', '/v2/queues', forged)

    assert named.ask('GET', '/v2/queues').status_code == 200
    assert other.status_code == 403


@pytest.mark.parametrize(
    ('rule', 'forged'),
    [
        ('system_scope:all', {'OpenStack-System-Scope': 'all'}),
        ('domain_id:default', {'X-Domain-Id': 'default'}),
        ('user_domain_id:other', {'X-User-Domain-Id': 'other'}),
        ('project_domain_id:other', {'X-Project-Domain-Id': 'other'}),
    ],
)
def test_domains_and_system_are_those_of_the_token(
    start: Start, member: Caller, rule: str, forged: dict[str, str]
) -> None:
    origin = start(f'"queues:get_all": "{rule}"')

    answer = member.at(origin).ask('GET', '/v2/queues', forged)

    assert answer.status_code == 403


@pytest.mark.parametrize(
    'rule', ['user_domain_id:default', 'project_domain_id:default']
)
def test_a_rule_may_name_a_domain(
    start: Start, member: Caller, rule: str
) -> None:
    origin = start(f'"queues:get_all": "{rule}"')

    answer = member.at(origin).ask('GET', '/v2/queues')

    assert answer.status_code == 200


def test_a_reader_is_refused_by_a_members_rule(
    keystone: Keystone, start: Start, member: Caller, queue: str
) -> None:
    origin = start('"messages:create": "role:member"')
    reader = join(keystone, origin, member.project, 'reader')

    assert reader.post(queue, headers=FORGED).status_code == 403
    assert member.at(origin).post(queue).status_code == 201
