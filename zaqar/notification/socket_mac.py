# SPDX-License-Identifier: Apache-2.0
"""What notifiers and WebSocket servers know each other by.

A notifier signs each message that it hands over with a key which both have
from the same secret. Where no secret is set, a server makes a key of its own
at its start and keeps it with its lease in the management store: whoever can
read that can read the messages as well.

Whoever sees such a request cannot send it again: a server takes each number of
a sender once, within the seconds for which its moment counts. It remembers the
last numbers of each sender as bits, so that memory is bounded by the number of
senders, and requests may overtake each other.

:source: reference/websocket, "Pushes"
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import secrets

from cachetools import LRUCache
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from oslo_config import cfg

from zaqar.controllers import signatures
from zaqar.notification import settings

#: Names of the headers that carry the moment, the sender with its number, and
#: the signature.
TIME = 'X-Zaqar-Time'
NONCE = 'X-Zaqar-Nonce'
MAC = 'X-Zaqar-MAC'

#: Seconds by which the two clocks may differ.
SKEW = 60

#: By how many a request of a sender may be overtaken, and senders that are
#: remembered; those who know the key alone can be one.
WINDOW = 4096
SENDERS = 1000

_CONTEXT = b'zaqar websocket push'

_NONCE = re.compile(r'([0-9a-f]{16})\.([0-9]{1,18})', re.ASCII)


class Nonces:
    """Makes what no other request has, for all threads of a process."""

    def __init__(self) -> None:
        self._sender = secrets.token_hex(8)
        self._numbers = itertools.count()

    def fresh(self) -> str:
        """Return the sender and its next number."""
        return f'{self._sender}.{next(self._numbers)}'


class Replays:
    """Tells what was taken before, for one thread."""

    def __init__(self) -> None:
        self._known: LRUCache[str, tuple[int, int]] = LRUCache(SENDERS)

    def take(self, nonce: str) -> bool:
        """Note a nonce; tell whether it is a new one."""
        found = _NONCE.fullmatch(nonce)
        if found is None:
            return False
        sender, number = found[1], int(found[2])
        last, taken = self._known.get(sender, (number, 0))
        if number > last:
            ahead = min(number - last, WINDOW)
            taken = (taken << ahead) & (2**WINDOW - 1)
            last = number
        bit = 1 << (last - number)
        if last - number >= WINDOW or taken & bit:
            return False
        self._known[sender] = last, taken | bit
        return True


class SocketMac:
    """Signs messages for connections, and verifies them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._replays = Replays()

    @classmethod
    def from_secret(cls, secret: str) -> SocketMac:
        """Derive the key from a secret that is used for other things too."""
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=_CONTEXT)
        return cls(derived.derive(secret.encode()))

    def sign(
        self, connection: str, moment: str, nonce: str, body: bytes
    ) -> str:
        """Return the signature as hex.

        :param moment: whole seconds since the epoch
        """
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        texts = (connection, moment, nonce)
        for part in (*(text.encode() for text in texts), body):
            # With their lengths, so that no two are alike when put together.
            mac.update(len(part).to_bytes(8, 'big'))
            mac.update(part)
        return mac.hexdigest()

    def verify(
        self,
        connection: str,
        moment: str,
        nonce: str,
        body: bytes,
        signature: str,
        *,
        now: float,
    ) -> bool:
        """Tell whether one who knows the key has just signed this, and once.

        :param now: seconds since the epoch
        """
        if not (moment.isascii() and moment.isdigit() and len(moment) < 20):
            return False
        expected = self.sign(connection, moment, nonce, body)
        is_right = hmac.compare_digest(expected.encode(), signature.encode())
        is_fresh = abs(now - int(moment)) <= SKEW
        # Noted last: what others make up takes no memory.
        return is_right and is_fresh and self._replays.take(nonce)


def from_conf(conf: cfg.ConfigOpts) -> str | None:
    """Return the secret that a configuration names, None without one."""
    conf.register_opts(settings.OPTS, settings.GROUP)
    conf.register_opts(signatures.OPTS, signatures.GROUP)
    found: str | None = (
        conf[settings.GROUP].socket_secret or conf[signatures.GROUP].secret_key
    )
    return found


def fresh_secret() -> str:
    """Return a secret that nobody knows yet."""
    return secrets.token_hex(32)
