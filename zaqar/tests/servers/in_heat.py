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
    environment = resources.global_env()
    for name in sorted(environment.get_types()):
        if name.startswith('OS::Zaqar::'):
            print(name, environment.get_class(name).__module__)


def missing(folder: str) -> None:
    """Print what types of Heat have and those that replace them have not.

    A line for each property and attribute that is missing, of another type,
    with another default, required of late, or not updated in place any more.
    """
    from oslo_config import cfg

    cfg.CONF([], project='heat')
    from heat.common import config  # noqa: F401
    from heat.engine import resources
    from heat.engine.resources.openstack.zaqar import queue, subscription

    cfg.CONF.set_override('plugin_dirs', [folder])
    resources.initialise()
    environment = resources.global_env()
    theirs = {**queue.resource_mapping(), **subscription.resource_mapping()}
    for name, kind in theirs.items():
        ours = environment.get_class(name)
        print('type', name)
        for which in set(kind.attributes_schema) - set(ours.attributes_schema):
            print(name, 'attribute', which)
        for which, schema in kind.properties_schema.items():
            mine = ours.properties_schema.get(which)
            if (
                mine is None
                or mine.type != schema.type
                or mine.default != schema.default
                or mine.required > schema.required
                or mine.update_allowed < schema.update_allowed
            ):
                print(name, 'property', which)


#: What can be asked for, each with one argument.
PROGRAMS = {'serve': serve, 'list': list_types, 'missing': missing}

if __name__ == '__main__':
    program, argument = sys.argv[1:3]
    del sys.argv[1:3]
    PROGRAMS[program](argument)
