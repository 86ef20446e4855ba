# SPDX-License-Identifier: Apache-2.0
"""``zaqar-status``: checks before an upgrade."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence

from oslo_config import cfg
from oslo_upgradecheck import common_checks, upgradecheck
from oslo_upgradecheck.upgradecheck import Code, Result

from zaqar import config_file_check, config_loading
from zaqar.api import (
    optional_features,
    oslo_policy_registration,
    policy_table_of_personas,
)
from zaqar.cmd import command_line_help, upgrade_faults
from zaqar.cmd.upgrade_faults import Unseen
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.url_signatures import Signer
from zaqar.errors import ConfigurationError, one_line
from zaqar.transport import caller_identity

PROG = 'zaqar-status'

#: Maximum of faults that a check lists.
MOST = 20

MANUAL = f"""\
NAME
    {PROG} - check whether an upgrade is possible

SYNOPSIS
    {PROG} [OPTION]... upgrade check [--json]

DESCRIPTION
    Run it after the new version is installed and before the service is
    started with it. Reads the configuration and the databases; changes
    nothing.

CHECKS
    Policy file     is it JSON, which is deprecated? Failure.
    Roles           with [DEFAULT] auth_strategy = keystone: who can do less
                    with [oslo_policy] enforce_new_defaults than without it?
                    No failure: read it before you set the option. Without
                    Keystone, warning if the option is set: callers need
                    the header X-Roles then.
    Signing key     is [signed_url] secret_key or one of verification_keys too
                    short? Failure.
    Encryption      are there queues with encrypted messages and no key, or
                    only the constant that the reference service had by
                    default? Is a key too short? Failure.
    Tables          are those of an SQL database at the revision that this
                    version works on? If not, failure.
    Stores          do the configured ones respond, and are their servers
                    recent enough? If not, failure.
    Options         are some set that are deprecated, unknown, or ignored
                    because they are written with hyphens? Warning.
    Pools           with [DEFAULT] pooling: is there one that does not
                    respond or is too old (failure), or whose driver is not
                    installed (warning)?
    Catalogue       with [DEFAULT] pooling: are there queues whose pool does
                    not exist, or flavors without a pool? Warning.
    Subscribers     are there subscriptions to addresses or ports that are
                    not allowed ([notification] allowed_networks and
                    allowed_ports)? They are not notified; warning.

    Unless the management store is an SQL database, queues cannot be listed
    across projects; checks that need it say so.

OPTIONS
    --json          print one JSON object instead of a table: "name", and
                    "checks", each with "check", "result" (0 success,
                    1 warning, 2 failure) and "details"

{command_line_help.manual_of_files(PROG)}
EXIT STATUS
    0    all checks passed
    1    there are warnings: read them, then go on
    2    a check failed: do not start the new version before that is fixed;
         also wrong usage, or a configuration that cannot be read
    255  an error of this program

EXAMPLES
    {PROG} upgrade check
    {PROG} --config-file /etc/zaqar/zaqar.conf upgrade check --json

"""


Check = Callable[[cfg.ConfigOpts], Result]


def _roles(conf: cfg.ConfigOpts) -> Result:
    oslo_policy_registration.set_defaults(conf)
    is_enforced = conf[policy_table_of_personas.GROUP].enforce_new_defaults
    if caller_identity.strategy(conf) != caller_identity.KEYSTONE:
        if not is_enforced:
            return Result(Code.SUCCESS)
        return Result(
            Code.WARNING,
            '[oslo_policy] enforce_new_defaults is set without [DEFAULT] '
            'auth_strategy = keystone: callers that send no role in the '
            'header X-Roles can do next to nothing.',
        )
    lost = policy_table_of_personas.losses(conf)
    if not lost:
        return Result(Code.SUCCESS)
    rules = oslo_policy_registration.list_rules()
    changed = [rule.name for rule in rules if rule.deprecated_rule]
    texts = [
        f'{who}: {", ".join(names) if len(names) < len(changed) else "all"}'
        for who, names in lost.items()
    ]
    state = 'is' if is_enforced else 'is not'
    return Result(
        Code.SUCCESS,
        f'[oslo_policy] enforce_new_defaults {state} set. With it, these '
        f'callers do not pass the rules that follow; without it, they do. '
        f'{"; ".join(texts)}',
    )


def _signing_key(conf: cfg.ConfigOpts) -> Result:
    Signer.from_conf(conf)
    return Result(Code.SUCCESS)


def _encryption(conf: cfg.ConfigOpts) -> Result:
    if Cipher.from_conf(conf).has_key:
        return Result(Code.SUCCESS)
    count = upgrade_faults.encrypted(conf)
    if not count:
        return Result(Code.SUCCESS)
    return Result(
        Code.FAILURE,
        f'{count} queues keep their messages encrypted, and there is no '
        'key. Set [transport] message_encryption_key or '
        'message_encryption_keys; the constant AES256, a default '
        'elsewhere, counts as none.',
    )


def _tables(conf: cfg.ConfigOpts) -> Result:
    faults, unseen = [], []
    for place in upgrade_faults.places(conf):
        try:
            faults.append(upgrade_faults.revision_fault(place))
        except Unseen as error:
            unseen.append(str(error))
    return _result(Code.FAILURE, [*filter(None, faults), *unseen])


def _pools(conf: cfg.ConfigOpts) -> Result:
    if 'pooling' not in optional_features.from_conf(conf):
        return Result(Code.SUCCESS)
    stops, warns = upgrade_faults.pool_faults(conf)
    return _result(Code.FAILURE if stops else Code.WARNING, [*stops, *warns])


def _catalogue(conf: cfg.ConfigOpts) -> Result:
    if 'pooling' not in optional_features.from_conf(conf):
        return Result(Code.SUCCESS)
    return _result(Code.WARNING, upgrade_faults.orphans(conf))


_COMMANDS = upgradecheck.UpgradeCommands()

#: What the manual describes, in its order.
CHECKS: Mapping[str, Check] = {
    'Policy file': functools.partial(
        common_checks.check_policy_json, _COMMANDS
    ),
    'Roles': _roles,
    'Signing key': _signing_key,
    'Encryption': _encryption,
    'Tables': _tables,
    'Stores': lambda conf: _result(Code.FAILURE, upgrade_faults.faults(conf)),
    'Options': lambda conf: _result(
        Code.WARNING, config_file_check.remarks(conf)
    ),
    'Pools': _pools,
    'Catalogue': _catalogue,
    'Subscribers': lambda conf: _result(
        Code.WARNING, upgrade_faults.refused_subscribers(conf)
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    words = command_line_help.read_words(arguments, MANUAL, ('upgrade',))
    try:
        conf = config_loading.load(PROG, words, _prepare)
    except ConfigurationError as error:
        print(f'{PROG}: {error}', file=sys.stderr)
        return 2
    # The library reads the flag for JSON from here.
    upgradecheck.CONF = conf
    return int(upgradecheck.run(conf))


def _prepare(conf: cfg.ConfigOpts) -> None:
    _COMMANDS._upgrade_checks = tuple(
        (name, (_explained, {'check': check, 'conf': conf}))
        for name, check in CHECKS.items()
    )
    upgradecheck.register_cli_options(conf, _COMMANDS)


def _explained(_: object, check: Check, conf: cfg.ConfigOpts) -> Result:
    """Return the result of a check, even if it fails with an error."""
    try:
        return check(conf)
    except Unseen as error:
        # An unreachable store is reported once, by its own check.
        return Result(Code.SUCCESS, f'Not looked at: {error}')
    except (ConfigurationError, cfg.Error) as error:
        return Result(Code.FAILURE, one_line(error))


def _result(code: Code, faults: Sequence[str]) -> Result:
    """Return a result that lists the first faults."""
    if not faults:
        return Result(Code.SUCCESS)
    shown = list(faults[:MOST])
    if len(faults) > MOST:
        shown.append(f'and {len(faults) - MOST} more')
    return Result(code, '; '.join(shown))


if __name__ == '__main__':
    sys.exit(main())
