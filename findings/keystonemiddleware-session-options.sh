#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Expected: a service that wants a keystoneauth1 session from its section
# [keystone_authtoken] registers what keystonemiddleware lists for that
# section, and then what a session reads from it; both call them cafile,
# certfile, keyfile and insecure, and registering an option twice is allowed.
#
# keystonemiddleware 13.0.1 and keystoneauth1 5.18.1: the second raises
# DuplicateOptError. Twice is allowed only for options that are equal, and
# those two give three of the four other help texts. In either order; which
# option is named is that of whoever is first in the second list. A service
# must copy the section, or load the session without the registration.
#
# Output:
#
#     middleware, session: duplicate option: cafile
#     session, middleware: duplicate option: certfile
#     cafile: equal False, but for the help True
#     certfile: equal False, but for the help True
#     insecure: equal True, but for the help True
#     keyfile: equal False, but for the help True
#     session from the middleware's own options: verify /ca.pem

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keystoneauth1==5.18.1 \
    keystonemiddleware==13.0.1 \
    setuptools==80.9.0

expected="middleware, session: duplicate option: cafile
session, middleware: duplicate option: certfile
cafile: equal False, but for the help True
certfile: equal False, but for the help True
insecure: equal True, but for the help True
keyfile: equal False, but for the help True
session from the middleware's own options: verify /ca.pem"

seen=$("$folder/venv/bin/python" - 2>/dev/null <<'END'
from keystoneauth1 import loading
from keystonemiddleware import opts
from oslo_config import cfg

GROUP = 'keystone_authtoken'


def middleware(conf):
    for group, options in opts.list_auth_token_opts():
        conf.register_opts(options, group)


def session(conf):
    loading.register_session_conf_options(conf, GROUP)


def register(*steps):
    conf = cfg.ConfigOpts()
    conf([], project='nobody', default_config_files=[])
    try:
        for step in steps:
            step(conf)
    except cfg.DuplicateOptError as error:
        names = ', '.join(step.__name__ for step in steps)
        print(f'{names}: {error}')
    return conf


def but_for_help(option):
    return {**vars(option), 'help': None}


register(middleware, session)
register(session, middleware)
ours = {option.dest: option for option in loading.get_session_conf_options()}
theirs = {
    option.dest: option
    for _, options in opts.list_auth_token_opts()
    for option in options
}
for name in sorted(ours.keys() & theirs.keys()):
    one, other = ours[name], theirs[name]
    same = but_for_help(one) == but_for_help(other)
    print(f'{name}: equal {one == other}, but for the help {same}')
conf = register(middleware)
for name in ours.keys() - theirs.keys():
    conf.register_opt(ours[name], GROUP)
conf.set_override('cafile', '/ca.pem', GROUP)
made = loading.load_session_from_conf_options(conf, GROUP)
print("session from the middleware's own options: verify", made.verify)
END
)

printf '%s\n' "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'Not as before. Expected:\n%s\n' "$expected" >&2
    exit 1
fi
