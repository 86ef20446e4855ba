#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the default policies of the service as Horizon reads them.

Run it in the environment of the service::

    .venv/bin/python tools/horizon_policies.py [--check]

``--check`` writes nothing, and fails if the file is out of date.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import Any

import yaml

from zaqar.api import oslo_policy_registration

TOP = pathlib.Path(__file__).resolve().parents[1]
TARGET = TOP / 'zaqar_dashboard' / 'policies' / 'zaqar.yaml'

_HEAD = """\
# SPDX-License-Identifier: Apache-2.0
# Made by tools/horizon_policies.py from the operations of the service.
"""


def described() -> list[dict[str, Any]]:
    """Return the rules in the format of Horizon's dump_default_policies.

    Without scopes: what Horizon knows of its user is no token.
    """
    return [
        {
            'check_str': rule.check_str,
            'description': rule.description,
            'name': rule.name,
            'operations': getattr(rule, 'operations', []),
            'scope_types': None,
        }
        for rule in oslo_policy_registration.list_rules()
    ]


def main() -> int:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true')
    arguments = parser.parse_args()
    text = _HEAD + yaml.safe_dump(described(), width=78)
    if not arguments.check:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() != text:
        print(f'{TARGET} is out of date', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
