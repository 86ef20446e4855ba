#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a plug-in of Heat is a Python module like any other: what Python
# allows in a module works in it.
#
# Heat 27.0.1 loads plug-ins from plugin_dirs without putting them into
# sys.modules. A dataclass in a module with "from __future__ import
# annotations", a habit in typed code, looks itself up there and raises an
# AttributeError that says nothing of the plug-in. Without that line, or with
# a plain class, the same module loads. Other things that look up their module
# (typing.get_type_hints, pickle) meet the same.
#
# Output:
#
#     without the future import: loaded
#     with the future import: AttributeError

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    openstack-heat==27.0.1 \
    setuptools==80.9.0

expected='without the future import: loaded
with the future import: AttributeError'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import pathlib
import sys
import tempfile

from heat.common import plugin_loader

FUTURE = 'from __future__ import annotations'
MODULE = """
import dataclasses


@dataclasses.dataclass
class Wait:
    count: int


def resource_mapping():
    return {}
"""

for name, text in (('without', MODULE), ('with', FUTURE + MODULE)):
    folder = tempfile.mkdtemp()
    pathlib.Path(folder, f'{name}_future.py').write_text(text)
    package = plugin_loader.create_subpackage(folder, 'heat', f'own_{name}')
    try:
        list(plugin_loader.load_modules(package))
        result = 'loaded'
    except Exception as error:
        result = type(error).__name__
    print(f'{name} the future import: {result}')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
