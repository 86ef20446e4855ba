# SPDX-License-Identifier: Apache-2.0
"""What runs inside Heat's own environment: its API, and its registry.

A program for the interpreter there, started by
:mod:`zaqar.tests.servers.heat`; nothing of ours can be imported in it. Heat
reads further arguments, ``--config-file`` and the like, by itself.
"""

from __future__ import annotations

import sys


def serve(port: str) -> None:
    """Serve Heat's API on a port of 127.0.0.1."""
    import waitress
    from heat.api.openstack.wsgi import init_application

    # More threads than one waits for an engine that is not there yet.
    waitress.serve(init_application(), host='127.0.0.1', port=port, threads=16)


def list_types(folder: str) -> None:
    """Print the types that plug-ins in a folder have, and their modules."""
    from oslo_config import cfg

    cfg.CONF([], project='heat')
    from heat.common import config  # noqa: F401
    from heat.engine import resources

    cfg.CONF.set_override('plugin_dirs', [folder])
    resources.initialise()
    known = resources.global_env()
    for name in sorted(known.get_types()):
        if name.startswith('OS::Zaqar::'):
            print(name, known.get_class(name).__module__)


#: What can be asked for, each with one argument.
PROGRAMS = {'serve': serve, 'list': list_types}

if __name__ == '__main__':
    program, argument = sys.argv[1:3]
    del sys.argv[1:3]
    PROGRAMS[program](argument)
