# SPDX-License-Identifier: Apache-2.0
"""Defaults of policy rules: who may do what.

They refer to a few rules that operators may redefine, to give the rights of a
member to other roles, say.

:source: reference/http, "Identity and policies"
"""

from zaqar.api.operation import ADMIN, Rule


def any_of(*defaults: str) -> str:
    """Return a default that those pass who pass one of these."""
    return ' or '.join(defaults)


_MEMBER = Rule(
    'project_member',
    any_of(ADMIN, 'role:manager', 'role:member', 'role:service'),
    'Who may use queues, topics and subscriptions of the own project.',
)
_READER = Rule(
    'project_reader',
    'rule:project_member or role:reader',
    'Who may look at those of the own project.',
)
_STACK_USER = Rule(
    'stack_user',
    'role:heat_stack_user',
    'Users that Heat creates for the servers and signals of a stack.',
)
_PRE_SIGNED = Rule(
    'pre_signed',
    'signed:True',
    'Holders of pre-signed URLs, and subscribers who confirm. They reach only '
    'what their signature covers.',
)

#: Helpers for defaults and for operators' own rules.
HELPERS = (
    Rule('context_is_admin', ADMIN, 'Who counts as an administrator.'),
    Rule(
        'admin_or_owner',
        'is_admin:True or project_id:%(project_id)s',
        'An administrator, or a member of the project that is addressed.',
    ),
    _MEMBER,
    _READER,
    _STACK_USER,
    _PRE_SIGNED,
)

MEMBER = f'rule:{_MEMBER.name}'
READER = f'rule:{_READER.name}'
STACK_USER = f'rule:{_STACK_USER.name}'
PRE_SIGNED = f'rule:{_PRE_SIGNED.name}'

#: Of messages and claims.
CONSUMER = any_of(MEMBER, STACK_USER, PRE_SIGNED)
OBSERVER = any_of(READER, STACK_USER, PRE_SIGNED)
