# SPDX-License-Identifier: Apache-2.0
"""Signatures of requests that notifiers make to WebSocket servers.

A notifier signs each message that it hands over with a key that both derive
from the same secret. Where no secret is configured, a server creates one at
its start and stores it with its lease in the management store: whoever can
read that can read the messages as well.

Requests cannot be replayed: a server accepts each number of a sender once,
while the time of the request is recent. It remembers the last numbers of each
sender as bits, so that memory is bounded by the number of senders, and
requests may overtake each other.

:source: reference/websocket, "Pushes"
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import secrets

from cachetools import LRUCache
from oslo_config import cfg

from zaqar.controllers import url_signatures
from zaqar.notification import settings

#: Headers for the time, the sender with its number, and the signature.
TIME = 'X-Zaqar-Time'
NONCE = 'X-Zaqar-Nonce'
MAC = 'X-Zaqar-MAC'

#: Maximum difference of the two clocks in seconds.
SKEW = 60

#: By how many others a request may be overtaken, and the number of senders
#: that are remembered; only who knows the key can be one.
WINDOW = 4096
SENDERS = 1000

_CONTEXT = b'zaqar websocket push'

_NONCE = re.compile(r'([0-9a-f]{16})\.([0-9]{1,18})', re.ASCII)


class NonceSource:
    """Numbers of requests, for all threads of a process."""

    def __init__(self) -> None:
        self._sender = secrets.token_hex(8)
        self._numbers = itertools.count()

    def fresh(self) -> str:
        """Return the sender with its next number."""
        return f'{self._sender}.{next(self._numbers)}'


class ReplayGuard:
    """The nonces that were accepted before, for one thread."""

    def __init__(self) -> None:
        self._senders: LRUCache[str, tuple[int, int]] = LRUCache(SENDERS)

    def take(self, nonce: str) -> bool:
        """Record a nonce; return whether it is a new one."""
        match = _NONCE.fullmatch(nonce)
        if match is None:
            return False
        sender, number = match[1], int(match[2])
        last, taken = self._senders.get(sender, (number, 0))
        if number > last:
            ahead = min(number - last, WINDOW)
            taken = (taken << ahead) & (2**WINDOW - 1)
            last = number
        bit = 1 << (last - number)
        if last - number >= WINDOW or taken & bit:
            return False
        self._senders[sender] = last, taken | bit
        return True


class RequestAuthenticator:
    """Signs requests of notifiers, and verifies them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._replays = ReplayGuard()

    @classmethod
    def from_secret(cls, secret: str) -> RequestAuthenticator:
        """Derive the key from a secret that has other uses, too."""
        # Only who pushes to sockets has a secret.
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        derived = HKDF(hashes.SHA256(), 32, salt=None, info=_CONTEXT)
        return cls(derived.derive(secret.encode()))

    def sign(
        self, connection: str, moment: str, nonce: str, body: bytes
    ) -> str:
        """Return the signature as hex, at a moment in whole seconds."""
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        texts = (connection, moment, nonce)
        for part in (*(text.encode() for text in texts), body):
            # With their lengths, so that parts cannot be shifted.
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
        """Return whether a request is authentic, recent and not a replay."""
        if not (moment.isascii() and moment.isdigit() and len(moment) < 20):
            return False
        expected = self.sign(connection, moment, nonce, body)
        is_right = hmac.compare_digest(expected.encode(), signature.encode())
        is_fresh = abs(now - int(moment)) <= SKEW
        # Last, so that forged requests take no memory.
        return is_right and is_fresh and self._replays.take(nonce)


def secret_from_conf(conf: cfg.ConfigOpts) -> str | None:
    """Return the configured secret, None without one."""
    conf.register_opts(settings.OPTS, settings.GROUP)
    conf.register_opts(url_signatures.OPTS, url_signatures.GROUP)
    secret: str | None = (
        conf[settings.GROUP].socket_secret
        or conf[url_signatures.GROUP].secret_key
    )
    return secret


def new_secret() -> str:
    return secrets.token_hex(32)
