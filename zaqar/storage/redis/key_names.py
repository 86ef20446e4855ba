# SPDX-License-Identifier: Apache-2.0
"""Names of Redis keys."""

import functools
from collections.abc import Sequence
from urllib.parse import quote

from zaqar.storage.abstract_stores import TOKEN_LIFETIME

#: Keys of a queue, in the order of ``lua/queue.lua``:
#: state, messages, all, free, claimed, delayed, waiting (delayed ones by
#: place), expiry, touched, claims, lapses (claims by their end), letters,
#: beside (what is stored beside bodies), known (what posts are compared with),
#: known by their end, lanes (messages by group and place), lined (free ones
#: with a group), ready (free groups by their first place), reached (the last
#: message of each group that was handed out).
_QUEUE = 'smafcdwxkqeoyhjlngr'

#: The same with the tokens of a period and of the one before.
OF_QUEUE = f'{_QUEUE}tT'

#: Places of some of them.
ALL, CLAIMED, EXPIRY = 2, 4, 7


def of_queue(prefix: str, qid: str, now: int) -> Sequence[str]:
    """Return the keys of a queue, all in one slot.

    Posts of one period share a hash of tokens. A token is looked up in that of
    ``now`` and in the one before, hence remembered for once to twice as long.

    :param now: decides which two hashes of tokens are meant
    """
    return _all(prefix, qid, now // TOKEN_LIFETIME)


@functools.lru_cache(maxsize=4096)
def _all(prefix: str, qid: str, period: int) -> Sequence[str]:
    letters = (*_QUEUE, f't{period}', f't{period - 1}')
    return tuple(f'{prefix}:{{{qid}}}:{letter}' for letter in letters)


@functools.lru_cache(maxsize=8192)
def some_of_queue(
    prefix: str, qid: str, period: int, letters: str
) -> Sequence[str]:
    """Return the keys of a queue that have some of :data:`OF_QUEUE`.

    :param period: that of the tokens, ``now // TOKEN_LIFETIME``
    """
    keys = _all(prefix, qid, period)
    return tuple(keys[OF_QUEUE.index(letter)] for letter in letters)


def of_state(prefix: str, qid: str) -> str:
    """Return the key of a queue's state, and the name of its channel."""
    return f'{prefix}:{{{qid}}}:{_QUEUE[0]}'


@functools.lru_cache(maxsize=4096)
def of_records(prefix: str, kind: str, parent: str) -> Sequence[str]:
    """Return the keys of the records of a kind under a parent."""
    # Quoted, since a brace would end the tag.
    base = f'{prefix}:{{{kind}/{quote(parent, safe="")}}}'
    return f'{base}:r', f'{base}:n'


def of_server(prefix: str) -> str:
    """Return the key whose server in a cluster provides the clock."""
    return f'{prefix}:{{server}}'


def of_lease(prefix: str) -> str:
    return f'{prefix}:{{server}}:sweeper'


def expiries(prefix: str) -> str:
    """Return a pattern of the keys with the expiry times of messages."""
    return f'{prefix}:{{*}}:x'


def queue_of(prefix: str, key: bytes) -> str:
    """Return the queue of a key of :func:`expiries` or :func:`of_state`."""
    return key.decode()[len(prefix) + 2 : -3]
