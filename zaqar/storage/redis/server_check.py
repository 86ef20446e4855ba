# SPDX-License-Identifier: Apache-2.0
"""Checks of a server at start-up: access, version, mode, eviction."""

import logging
from collections.abc import Mapping
from typing import Any

from zaqar.errors import ConfigurationError
from zaqar.storage.redis import key_names
from zaqar.storage.redis.error_code_parsing import error_code
from zaqar.storage.redis.node_connection_pool import (
    ConnectionLost,
    LoginRefused,
)
from zaqar.storage.redis.retrying_client import RedisClient
from zaqar.storage.redis.server_topology import SentinelTopology
from zaqar.storage.redis.uri_parsing import ConnectionSettings, Mode

LOG = logging.getLogger(__name__)

#: The oldest server, by the version of its protocol (Valkey reports it, too).
OLDEST = (6, 0)

_REFUSALS = ('NOAUTH', 'NOPERM', 'WRONGPASS')


def check(client: RedisClient, settings: ConnectionSettings) -> None:
    """Raise an error if a server answers but cannot be used."""
    try:
        sentinels = client.topology
        if isinstance(sentinels, SentinelTopology) and (
            not sentinels.knows_master()
        ):
            raise ConfigurationError(
                f'the Sentinels know no master "{settings.master}"'
            )
        (answer,) = client.topology.exchange(
            key_names.of_server(settings.prefix), [('INFO',)]
        )
    except LoginRefused as error:
        raise ConfigurationError(f'the server refuses us: {error}') from None
    except ConnectionLost as error:
        _check_cause(error, settings)
        LOG.warning('Redis does not answer yet: %s', error)
        return
    if error_code(answer) in _REFUSALS:
        raise ConfigurationError(f'the server refuses us: {answer}')
    if error_code(answer):
        LOG.warning('Redis cannot be used yet: %s', answer)
        return
    known = facts(answer)
    _check_version(known)
    _check_mode(known, settings)
    _check_memory(known)


def _check_cause(error: ConnectionLost, settings: ConnectionSettings) -> None:
    """Raise an error if waiting for the server will not help."""
    text = str(error.__cause__ or error)
    if 'cluster support disabled' in text:
        raise ConfigurationError(
            'the server is not part of a cluster; use redis://'
        )
    if error_code(error.__cause__) in _REFUSALS:
        raise ConfigurationError(f'the server refuses us: {text}')
    if settings.mode is Mode.SENTINEL and 'unknown command' in text.lower():
        raise ConfigurationError(
            'the hosts of the URI are no Sentinels; leave "master" out'
        )
    if isinstance(error.__cause__, LoginRefused):
        raise ConfigurationError(f'the server refuses us: {error.__cause__}')
    if 'DB index is out of range' in text:
        raise ConfigurationError(f'the server has no database: {text}')
    if 'CERTIFICATE_VERIFY_FAILED' in text:
        raise ConfigurationError(f'the server is not trusted: {text}')


def facts(answer: bytes) -> Mapping[str, str]:
    """Return what a server tells about itself in an answer to ``INFO``."""
    lines = answer.decode(errors='replace').splitlines()
    return dict(line.split(':', 1) for line in lines if ':' in line)


def _check_version(facts: Mapping[str, str]) -> None:
    text = facts.get('redis_version', '0')
    version = tuple(
        int(part) for part in text.split('.')[:2] if part.isdecimal()
    )
    if version < OLDEST:
        raise ConfigurationError(
            f'Redis {text} is too old; {".".join(map(str, OLDEST))} is needed'
        )


def _check_mode(
    facts: Mapping[str, Any], settings: ConnectionSettings
) -> None:
    # Valkey has another name for it.
    mode = facts.get('redis_mode') or facts.get('server_mode')
    if mode == 'sentinel':
        raise ConfigurationError(
            'the server is a Sentinel; add "?master=NAME" to the URI'
        )
    if mode == 'cluster' and settings.mode is not Mode.CLUSTER:
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
