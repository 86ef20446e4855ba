# SPDX-License-Identifier: Apache-2.0
"""Whether a server that answers can be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from zaqar.errors import ConfigurationError
from zaqar.storage.redis import keys
from zaqar.storage.redis.address import Address, Mode
from zaqar.storage.redis.links import Lost, Refused, code
from zaqar.storage.redis.server import Server
from zaqar.storage.redis.topology import Watched

LOG = logging.getLogger(__name__)

#: The oldest server, by the version of its protocol (Valkey tells it, too).
OLDEST = (6, 0)

_REFUSALS = ('NOAUTH', 'NOPERM', 'WRONGPASS')


def check(server: Server, address: Address) -> None:
    """Complain about a server that answers but cannot be used.

    :raises ConfigurationError: it refuses us, is too old, or is another kind
        of server than the URI says
    """
    try:
        if isinstance(server.topology, Watched):
            _check_name(server.topology, address)
        (answer,) = server.topology.exchange(
            keys.of_server(address.prefix), [('INFO',)]
        )
    except Refused as error:
        raise ConfigurationError(f'the server refuses us: {error}') from None
    except Lost as error:
        _check_cause(error, address)
        LOG.warning('Redis does not answer yet: %s', error)
        return
    if code(answer) in _REFUSALS:
        raise ConfigurationError(f'the server refuses us: {answer}')
    if code(answer):
        LOG.warning('Redis cannot be used yet: %s', answer)
        return
    facts = _facts(answer)
    _check_version(facts)
    _check_mode(facts, address)
    _check_memory(facts)


def _check_name(watched: Watched, address: Address) -> None:
    if not watched.is_known():
        raise ConfigurationError(
            f'the Sentinels know no master "{address.master}"'
        )


def _check_cause(error: Lost, address: Address) -> None:
    """Tell a server that cannot be what the URI says from a silent one."""
    text = str(error.__cause__ or error)
    if 'cluster support disabled' in text:
        raise ConfigurationError(
            'the server is not part of a cluster; use redis://'
        )
    if code(error.__cause__) in _REFUSALS:
        raise ConfigurationError(f'the server refuses us: {text}')
    if address.mode is Mode.SENTINEL and 'unknown command' in text.lower():
        raise ConfigurationError(
            'the hosts of the URI are no Sentinels; leave "master" out'
        )
    if isinstance(error.__cause__, Refused):
        raise ConfigurationError(f'the server refuses us: {error.__cause__}')
    if 'DB index is out of range' in text:
        raise ConfigurationError(f'the server has no database: {text}')
    if 'CERTIFICATE_VERIFY_FAILED' in text:
        raise ConfigurationError(f'the server is not trusted: {text}')


def _facts(answer: bytes) -> Mapping[str, str]:
    lines = answer.decode(errors='replace').splitlines()
    return dict(line.split(':', 1) for line in lines if ':' in line)


def _check_version(facts: Mapping[str, str]) -> None:
    found = facts.get('redis_version', '0')
    version = tuple(
        int(part) for part in found.split('.')[:2] if part.isdecimal()
    )
    if version < OLDEST:
        raise ConfigurationError(
            f'Redis {found} is too old; {".".join(map(str, OLDEST))} is needed'
        )


def _check_mode(facts: Mapping[str, Any], address: Address) -> None:
    # Valkey has another name for it.
    mode = facts.get('redis_mode') or facts.get('server_mode')
    if mode == 'sentinel':
        raise ConfigurationError(
            'the server is a Sentinel; add "?master=NAME" to the URI'
        )
    if mode == 'cluster' and address.mode is not Mode.CLUSTER:
        raise ConfigurationError(
            'the server is part of a cluster; use redis+cluster://'
        )


def _check_memory(facts: Mapping[str, str]) -> None:
    policy = facts.get('maxmemory_policy', 'noeviction')
    if policy != 'noeviction' and facts.get('maxmemory', '0') != '0':
        LOG.warning(
            'This Redis gives up keys when its memory is full '
            '(maxmemory-policy = %s), hence may lose messages; use noeviction',
            policy,
        )
