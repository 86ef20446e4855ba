# SPDX-License-Identifier: Apache-2.0
"""Guarantees of a server: what its settings promise.

Users need no permission to read the configuration; without it some of the
answer is unknown.
"""

from collections.abc import Mapping
from typing import Any

from zaqar.storage.redis import key_names, server_check
from zaqar.storage.redis.error_code_parsing import error_code
from zaqar.storage.redis.retrying_client import RedisClient
from zaqar.storage.store_guarantees import (
    LAST_SECOND,
    Guarantees,
    Order,
    Survival,
)

_CONFIG = (
    'appendfsync',
    'min-replicas-max-lag',
    'min-replicas-to-write',
    'no-appendfsync-on-rewrite',
    'save',
)
_REFUSED = 'unknown, since CONFIG GET is refused'

#: How much survives a crash of the machine, by ``appendfsync``.
_CRASH: Mapping[str, tuple[Survival, str]] = {
    'always': (True, 'changes are on disk before they are acknowledged'),
    'everysec': (LAST_SECOND, 'a crash loses the last second'),
    'no': (False, 'a crash loses what the system has not written yet'),
}


def read(client: RedisClient, qid: str) -> Guarantees:
    """Read the settings of the server that has a queue."""
    info, replication, *answers = client.answers(
        key_names.of_state(client.prefix, qid),
        [
            ('INFO', 'persistence'),
            ('INFO', 'replication'),
            *(('CONFIG', 'GET', name) for name in _CONFIG),
        ],
    )
    config = {
        name: None if error_code(answer) else _value(answer)
        for name, answer in zip(_CONFIG, answers, strict=True)
    }
    facts = server_check.facts(info)
    is_logged = facts.get('aof_enabled') == '1'
    kill, reason = _crash(config) if is_logged else _crash_without_log(config)
    failover, *reasons = _failover(
        server_check.facts(replication), config, client.wait_replicas
    )
    return Guarantees('redis', Order.FIFO, kill, failover, [reason, *reasons])


def _crash(config: Mapping[str, str | None]) -> tuple[Survival, str]:
    policy = config['appendfsync']
    if policy is None:
        return None, f'appendonly = yes, appendfsync is {_REFUSED}'
    text = f'appendonly = yes, appendfsync = {policy}'
    if config['no-appendfsync-on-rewrite'] == 'yes' and policy != 'no':
        return (
            False,
            f'{text}, no-appendfsync-on-rewrite = yes: while the file is '
            'rewritten, a crash loses what the system has not written yet',
        )
    survival, consequence = _CRASH.get(policy, (None, 'unknown'))
    return survival, f'{text}: {consequence}'


def _crash_without_log(
    config: Mapping[str, str | None],
) -> tuple[Survival, str]:
    rules = config['save']
    if rules is None:
        return False, f'appendonly = no, save is {_REFUSED}'
    if not rules:
        return (
            False,
            'appendonly = no, save is empty: a crash loses everything',
        )
    return (
        False,
        f'appendonly = no, save = {rules}: a crash loses what came after the '
        'last snapshot',
    )


def _failover(
    facts: Mapping[str, str],
    config: Mapping[str, str | None],
    wait_replicas: int,
) -> tuple[Any, ...]:
    """Return whether data survive a failover, and the reasons."""
    count = int(facts.get('connected_slaves', 0))
    text = f'wait_replicas = {wait_replicas}, connected_slaves = {count}'
    if wait_replicas and wait_replicas >= count:
        return True, f'{text}: changes wait for all replicas'
    if wait_replicas:
        return False, f'{text}: one that takes over may lack the last changes'
    reasons = [
        f'{text}: replication is asynchronous, and a replica that takes over '
        'may lack the last changes'
    ]
    least = config['min-replicas-to-write']
    if least not in (None, '0'):
        lag = config['min-replicas-max-lag']
        reasons.append(
            f'min-replicas-to-write = {least}, min-replicas-max-lag = {lag}: '
            f'it lacks those of {lag} s at most'
        )
    return False, *reasons


def _value(answer: Any) -> str | None:
    """Return the value of an answer to ``CONFIG GET``, None without one."""
    return answer[1].decode() if len(answer) > 1 else None
