# SPDX-License-Identifier: Apache-2.0
"""``zaqar-manage``: register the limits of the service in Keystone."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from zaqar import config_loading
from zaqar.cmd import command_line_help
from zaqar.controllers.configured_quotas import (
    RESOURCES,
    UNLIMITED,
    QuotaSettings,
)
from zaqar.errors import ConfigurationError, one_line

PROG = 'zaqar-manage'

FAILED = 1

MANUAL = f"""\
NAME
    {PROG} - register the limits of the service in Keystone

SYNOPSIS
    {PROG} [OPTION]... limits sync [--update] [--dry-run] [--os-cloud NAME]

DESCRIPTION
    Registers the resources that [quotas] limits, with the limits there as
    defaults of all projects; no limit is -1. They belong to the service and
    the region of the endpoint [oslo_limit] endpoint_id. May be run at any
    time, after each upgrade above all: what is registered already stays.

    Keystone allows it to administrators of the system: those of [oslo_limit],
    or of a cloud of clouds.yaml.

OPTIONS
    --update            set defaults that are registered with other limits
    --dry-run           print what would be done, and change nothing
    --os-cloud NAME     a cloud of clouds.yaml, whose user is used instead of
                        that of [oslo_limit]; "envvars" for OS_ variables

{command_line_help.manual_of_files(PROG)}
EXIT STATUS
    0    done
    1    Keystone does not respond, or refuses it
    2    wrong usage, or a configuration that cannot be read

EXAMPLES
    {PROG} limits sync
    {PROG} limits sync --os-cloud devstack-system-admin --update

"""


class Failure(Exception):
    """The command failed; the text says why."""


def sync(
    conf: cfg.ConfigOpts,
    *,
    update: bool = False,
    is_dry: bool = False,
    cloud: str | None = None,
) -> None:
    """Register what is missing, and print what is done."""
    limits = QuotaSettings.from_conf(conf).limits
    identity, place = _keystone(conf, cloud)
    registered = {
        one.resource_name: one
        for one in identity.registered_limits(service_id=place['service_id'])
        if one.region_id == place['region_id']
    }
    for name in RESOURCES:
        default = limits.get(name, UNLIMITED)
        known = registered.get(name)
        if known is None:
            done = f'registered with the default {default}'
            if not is_dry:
                identity.create_registered_limit(
                    resource_name=name, default_limit=default, **place
                )
        elif known.default_limit == default:
            done = f'has the default {default}'
        elif not update:
            done = (
                f'has the default {known.default_limit}, which stays; '
                f'[quotas] says {default} (--update sets it)'
            )
        else:
            done = f'changed from {known.default_limit} to {default}'
            if not is_dry:
                identity.update_registered_limit(
                    known.id, default_limit=default
                )
        print(f'{name}: {done}')


def _keystone(
    conf: cfg.ConfigOpts, cloud: str | None
) -> tuple[Any, Mapping[str, str | None]]:
    """Return the API of Keystone, and service and region of our endpoint."""
    try:
        from zaqar.keystone import unified_limits
    except ImportError:
        raise Failure('The extra "unified-limits" is not installed') from None
    endpoint_id = unified_limits.endpoint_id(conf)
    if not endpoint_id:
        raise Failure('[oslo_limit] endpoint_id is not set')
    identity = unified_limits.identity(conf, cloud)
    endpoint = identity.get_endpoint(endpoint_id)
    return identity, {
        'service_id': endpoint.service_id,
        'region_id': endpoint.region_id,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    words = command_line_help.read_words(arguments, MANUAL, ('limits',))
    try:
        conf = config_loading.load(PROG, words, _prepare)
        chosen = conf.command
        sync(
            conf,
            update=chosen.update,
            is_dry=chosen.dry_run,
            cloud=chosen.os_cloud,
        )
    except ConfigurationError as error:
        print(f'{PROG}: {error}', file=sys.stderr)
        return 2
    except Exception as error:
        # Whatever the client library raises.
        print(f'{PROG}: {one_line(error)}', file=sys.stderr)
        return FAILED
    return 0


def _prepare(conf: cfg.ConfigOpts) -> None:
    def add(subparsers: Any) -> None:
        limits: argparse.ArgumentParser = subparsers.add_parser('limits')
        limits.add_argument('action', choices=['sync'])
        limits.add_argument('--update', action='store_true')
        limits.add_argument('--dry-run', action='store_true')
        limits.add_argument('--os-cloud')

    conf.register_cli_opt(
        cfg.SubCommandOpt('command', title='commands', handler=add)
    )


if __name__ == '__main__':
    sys.exit(main())
