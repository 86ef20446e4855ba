#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a health check whose one back end has nothing to look at says so
# once, at start.
#
# oslo.middleware 8.2.0: the back end disable_by_file without
# disable_by_file_path, which has no default, writes a warning for every
# request. A load balancer with three nodes that asks each second fills a
# quiet log with a quarter of a million lines a day. The answer is 200.
#
# Output:
#
#     at start: 0 warnings
#     request 1: 200 OK, 1 warnings
#     request 2: 200 OK, 2 warnings
#     request 3: 200 OK, 3 warnings

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    oslo.middleware==8.2.0 \
    setuptools==80.9.0

expected='at start: 0 warnings
request 1: 200 OK, 1 warnings
request 2: 200 OK, 2 warnings
request 3: 200 OK, 3 warnings'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import logging

import webob
from oslo_config import cfg
from oslo_middleware import healthcheck


class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record)


lines = []
logging.getLogger().addHandler(Lines())
conf = cfg.ConfigOpts()
conf([], project='nobody', default_config_files=[])
options = {'backends': 'disable_by_file', 'oslo_config_config': conf}
check = healthcheck.Healthcheck(None, options)
print(f'at start: {len(lines)} warnings')
for count in range(1, 4):
    answer = webob.Request.blank('/healthcheck').get_response(check)
    print(f'request {count}: {answer.status}, {len(lines)} warnings')
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
