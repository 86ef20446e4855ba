# SPDX-License-Identifier: Apache-2.0
"""Personas, the usual callers of a cloud, and what the policy allows them.

``python -m zaqar.api.policy_table_of_personas`` prints the table of the policy
guide.
"""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from oslo_config import cfg

from zaqar.api import operation_table, oslo_policy_registration
from zaqar.api.operation import PUBLIC, Operation
from zaqar.api.policy_enforcement import HELD, Authorizer
from zaqar.controllers.signed_url_creation import PATHS
from zaqar.identity import Identity
from zaqar.objects import Scope

GROUP = 'oslo_policy'
OPTION = 'enforce_new_defaults'


@dataclass(frozen=True)
class Persona:
    """A usual caller.

    :ivar roles: of its token, those that Keystone implies among them
    """

    name: str
    roles: tuple[str, ...] = ()
    is_signed: bool = False

    def identity(self) -> Identity:
        """Return the caller in some project."""
        signed = HELD if self.is_signed else None
        return Identity('p', '', self.roles, signed=signed)


PERSONAS = (
    Persona('reader', ('reader',)),
    Persona('member', ('member', 'reader')),
    Persona('manager', ('manager', 'member', 'reader')),
    Persona('admin', ('admin', 'manager', 'member', 'reader')),
    Persona('service', ('service',)),
    Persona('heat_stack_user', ('heat_stack_user',)),
    Persona('pre-signed', is_signed=True),
)

#: Who has none of these roles.
OTHER = Persona('any other role', ('other',))


def is_within_reach(persona: Persona, row: Operation) -> bool:
    """Tell whether there are signatures for an operation, if it needs one."""
    steps = row.target.split('/')
    return not persona.is_signed or (
        (steps[2] == 'queues' and steps[4:5] != [] and steps[4] in PATHS)
        or steps[-1] == 'confirm'
    )


def allowed(conf: cfg.ConfigOpts, *, new: bool) -> Set[tuple[str, str]]:
    """Return which personas pass which rules, by their names.

    :param conf: whose policy file counts
    :param new: whether to enforce the new defaults
    """
    oslo_policy_registration.set_defaults(conf)
    conf.set_override(OPTION, new, GROUP)
    try:
        authorizer = Authorizer(conf)
        return {
            (persona.name, rule.name)
            for persona in (*PERSONAS, OTHER)
            for rule in oslo_policy_registration.rules()
            if authorizer.allows(rule, persona.identity(), Scope('p', 'q'))
        }
    finally:
        conf.clear_override(OPTION, GROUP)


def losses(conf: cfg.ConfigOpts) -> Mapping[str, Sequence[str]]:
    """Return the rules that only the former defaults let pass, by persona."""
    before, after = (allowed(conf, new=new) for new in (False, True))
    lost: dict[str, list[str]] = {}
    for persona in (*PERSONAS, OTHER):
        for rule, rows in oslo_policy_registration.rules().items():
            pair = (persona.name, rule.name)
            if pair in before - after and any(
                is_within_reach(persona, row) for row in rows
            ):
                lost.setdefault(persona.name, []).append(rule.name)
    return lost


def table() -> str:
    """Return the guide's table of operations and callers as CSV."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    names = [persona.name for persona in PERSONAS]
    writer.writerow(['Action', 'Request', 'Rule', *names])
    writer.writerows(_lines(allowed(conf, new=True)))
    return text.getvalue()


def _lines(passed: Set[tuple[str, str]]) -> Iterator[list[str]]:
    for row in operation_table.OPERATIONS:
        rule = row.rule.name
        may = (
            is_within_reach(persona, row)
            and (row.rule is PUBLIC or (persona.name, rule) in passed)
            for persona in PERSONAS
        )
        request = row.http or 'over WebSocket'
        yield [row.name, request, rule, *('yes' if m else 'no' for m in may)]


if __name__ == '__main__':
    sys.stdout.write(table())
