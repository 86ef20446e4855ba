#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: conf is optional when a notifier is made, as the driver for Redis
# declares it (conf: cfg.ConfigOpts = cfg.CONF); and where no driver can be
# made, the caller learns of it.
#
# osprofiler 4.4.0: notifier.create('redis://...') without conf answers a
# notifier that does nothing, since [profiler] is not registered in cfg.CONF
# until somebody imports osprofiler.opts. The error is logged, not raised, so
# that a program with profiling switched on loses every trace. The answer is
# stored by the connection string: whoever asks later, and gives conf, gets
# the one that does nothing, too. Nothing connects to Redis here.
#
# Output:
#
#     without conf: _noop_notifier
#     logged: NoSuchOptError: no such option profiler in group [DEFAULT]
#     with conf={}: notify
#     with conf={}, after one without: _noop_notifier
#     without conf, osprofiler.opts imported: notify

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    osprofiler==4.4.0 \
    redis==8.1.0 \
    setuptools==80.9.0

expected='without conf: _noop_notifier
logged: NoSuchOptError: no such option profiler in group [DEFAULT]
with conf={}: notify
with conf={}, after one without: _noop_notifier
without conf, osprofiler.opts imported: notify'

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
import logging

from osprofiler import notifier


class Errors(logging.Handler):
    def emit(self, record):
        logged.append(record.exc_info)


def create(title, database, **more):
    made = notifier.create(f'redis://127.0.0.1/{database}', **more)
    print(f'{title}: {made.__name__}')


logged = []
logging.getLogger('osprofiler').addHandler(Errors(logging.ERROR))
create('without conf', 1)
for kind, error, _ in logged:
    print(f'logged: {kind.__name__}: {error}')
create('with conf={}', 2, conf={})
create('with conf={}, after one without', 1, conf={})

from osprofiler import opts

create(f'without conf, {opts.__name__} imported', 3)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
