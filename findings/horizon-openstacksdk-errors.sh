#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: Horizon logs a user out if a service answers 401, and shows any
# other refusal.
#
# Horizon 27.0.0 counts HttpException of openstacksdk, which all refusals derive
# from, as unauthorized: a conflict or an invalid value that is raised by
# openstacksdk ends in "You are not authorized". Those of python-novaclient are
# told apart.
#
# Output:
#
#     openstacksdk 409: unauthorized
#     openstacksdk 400: unauthorized
#     python-novaclient 409: shown

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    horizon==27.0.0 openstacksdk==4.22.0 setuptools==80.9.0

expected='openstacksdk 409: unauthorized
openstacksdk 400: unauthorized
python-novaclient 409: shown'

seen=$("$folder/venv/bin/python" -W ignore - 2>/dev/null <<'END'
from novaclient import exceptions as nova
from openstack import exceptions as sdk
from openstack_dashboard import exceptions as dashboard


def treated(kind):
    # Horizon's handle() looks at these first.
    if issubclass(kind, dashboard.UNAUTHORIZED):
        return 'unauthorized'
    return 'shown' if issubclass(kind, dashboard.RECOVERABLE) else 'raised'


print('openstacksdk 409:', treated(sdk.ConflictException))
print('openstacksdk 400:', treated(sdk.BadRequestException))
print('python-novaclient 409:', treated(nova.Conflict))
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
