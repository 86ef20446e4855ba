# SPDX-License-Identifier: Apache-2.0
"""What notifiers and WebSocket servers know each other by.

A notifier signs each message that it hands over with a key which both have
from the same secret. Where no secret is set, a server makes a key of its own
at its start and keeps it with its lease in the management store: whoever can
read that can read the messages as well.

:source: websocket.md 6
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from oslo_config import cfg

from zaqar.controllers import signatures
from zaqar.notification import settings

#: Names of the headers that carry the moment and the signature.
TIME = 'X-Zaqar-Time'
MAC = 'X-Zaqar-MAC'

#: Seconds by which the two clocks may differ.
SKEW = 60

_CONTEXT = b'zaqar websocket push'


class SocketMac:
    """Signs messages for connections, and verifies them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_secret(cls, secret: str) -> SocketMac:
        """Derive the key from a secret that is used for other things too."""
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=_CONTEXT)
        return cls(derived.derive(secret.encode()))

    def sign(self, connection: str, moment: str, body: bytes) -> str:
        """Return the signature as hex.

        :param moment: whole seconds since the epoch
        """
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (connection.encode(), moment.encode(), body):
            # With their lengths, so that no two triples are alike.
            mac.update(len(part).to_bytes(8, 'big'))
            mac.update(part)
        return mac.hexdigest()

    def verify(
        self,
        connection: str,
        moment: str,
        body: bytes,
        signature: str,
        *,
        now: float,
    ) -> bool:
        """Tell whether one who knows the key has just signed this.

        :param now: seconds since the epoch
        """
        if not (moment.isascii() and moment.isdigit() and len(moment) < 20):
            return False
        expected = self.sign(connection, moment, body)
        is_right = hmac.compare_digest(expected.encode(), signature.encode())
        return is_right and abs(now - int(moment)) <= SKEW


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
