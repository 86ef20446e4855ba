# SPDX-License-Identifier: Apache-2.0
"""The signed connection on which notifiers hand messages to WebSocket servers.

Both ends derive a key from the same secret. Where no secret is configured, a
server creates one at its start and stores it with its lease in the management
store: whoever can read that can read the messages as well.

A server begins with a challenge and the maximum length of a frame. The
notifier replies with a nonce and a signature of both. From then on it sends
frames, and the server answers each, in order. These are a length, so many
bytes, and a signature with a key of this connection alone, which covers the
direction and the number of the frame, too. So nothing that was sent can be
sent again, on this connection or another one, and clocks do not matter.

:source: reference/websocket, "Pushes"
"""

import hmac
import secrets

#: First bytes of what both ends send, with the version of all this.
MAGIC = b'zaqar\x00\x00\x01'

#: Bytes of a nonce, and of a signature.
_NONCE = 32
SIGNATURE = 32

#: Bytes of a challenge, of the reply to it, and of a length.
CHALLENGE = len(MAGIC) + 4 + _NONCE
REPLY = len(MAGIC) + _NONCE + SIGNATURE
LENGTH = 4

_CONTEXT = b'zaqar websocket push frames'


class Refused(ConnectionError):
    """The other end has sent something that it cannot have signed."""


class Channel:
    """Signs what one end of a connection sends, verifies what it receives.

    :ivar most: maximum bytes of a frame
    """

    def __init__(self, key: bytes, most: int, *, is_server: bool) -> None:
        self.most = most
        self._key = key
        self._directions = b'sn' if is_server else b'ns'
        self._sent = self._received = 0

    def sealed(self, data: bytes) -> bytes:
        """Return the next frame to send, signed."""
        signature = self._sign(self._directions[0], self._sent, data)
        self._sent += 1
        return len(data).to_bytes(LENGTH, 'big') + data + signature

    def opened(self, frame: bytes) -> bytes:
        """Return what the next frame holds, which comes without its length.

        :raises Refused: its signature is wrong
        """
        data, signature = frame[:-SIGNATURE], frame[-SIGNATURE:]
        expected = self._sign(self._directions[1], self._received, data)
        if not hmac.compare_digest(expected, signature):
            raise Refused('a frame has the wrong signature')
        self._received += 1
        return data

    def _sign(self, direction: int, number: int, data: bytes) -> bytes:
        mac = hmac.new(self._key, b'%c%016x' % (direction, number), 'sha256')
        mac.update(data)
        return mac.digest()


class Key:
    """What both ends know each other by.

    :param others: secrets that a server accepts as well, of notifiers whose
        configuration is older or newer
    """

    def __init__(self, secret: str, *others: str) -> None:
        # Only who pushes to sockets has a secret.
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        def derived(text: str) -> bytes:
            function = HKDF(hashes.SHA256(), 32, salt=None, info=_CONTEXT)
            return function.derive(text.encode())

        self._key = derived(secret)
        self._keys = [self._key, *map(derived, others)]

    def reply(self, challenge: bytes) -> tuple[bytes, Channel]:
        """Return a notifier's reply to a challenge, and its channel.

        :raises Refused: it is none of a server of this release
        """
        if not challenge.startswith(MAGIC):
            raise Refused('the server does not speak this protocol')
        nonce = secrets.token_bytes(_NONCE)
        channel = _channel(self._key, challenge, nonce, is_server=False)
        return MAGIC + nonce + _proof(self._key, challenge, nonce), channel

    def accept(self, challenge: bytes, reply: bytes) -> Channel:
        """Return a server's channel, once it has the reply.

        :raises Refused: the other end does not know the secret
        """
        nonce = reply[len(MAGIC) : -SIGNATURE]
        for key in self._keys:
            proof = MAGIC + nonce + _proof(key, challenge, nonce)
            if hmac.compare_digest(proof, reply):
                return _channel(key, challenge, nonce, is_server=True)
        raise Refused('a notifier has another secret')


def _proof(key: bytes, challenge: bytes, nonce: bytes) -> bytes:
    return hmac.digest(key, b'proof' + challenge + nonce, 'sha256')


def _channel(
    key: bytes, challenge: bytes, nonce: bytes, *, is_server: bool
) -> Channel:
    own = hmac.digest(key, b'frame' + challenge + nonce, 'sha256')
    most = int.from_bytes(challenge[len(MAGIC) : -_NONCE], 'big')
    return Channel(own, most, is_server=is_server)


def challenge(most: int) -> bytes:
    """Return a server's challenge, with the maximum bytes of a frame."""
    return MAGIC + most.to_bytes(4, 'big') + secrets.token_bytes(_NONCE)


def new_secret() -> str:
    return secrets.token_hex(32)
