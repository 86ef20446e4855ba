# SPDX-License-Identifier: Apache-2.0
"""Encryption of message bodies and attributes at rest, with AES-256-GCM.

An encrypted body says that it is one, and names its key, so that encryption of
a queue and the keys of a service can change while messages are stored. The
place of a message is authenticated with its body: a row that is copied to
another queue or project cannot be decrypted there.

:source: reference/storage, "Encryption and checksums"
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from cachetools import TTLCache
from msgspec import structs
from oslo_config import cfg

from zaqar.controllers import message_extras_codec
from zaqar.errors import (
    ConfigurationError,
    DecryptionFailed,
    KeyMissing,
    StoreUnavailable,
)
from zaqar.event_loop_greenlets import offload
from zaqar.objects import Message, NewMessage, Scope, random_half

LOG = logging.getLogger(__name__)

GROUP = 'transport'

OPTS = [
    cfg.StrOpt(
        'message_encryption_algorithms',
        default='AES256',
        help='How bodies of queues with _enable_encrypt_messages are '
        'encrypted at rest: AES256, which is AES-256-GCM. RSA, a value of the '
        'reference service, is a startup error.',
    ),
    cfg.StrOpt(
        'message_encryption_key',
        secret=True,
        help='Key for encrypted queues, of at least 16 characters. Without it '
        'and message_encryption_keys, queues cannot be encrypted.',
    ),
    cfg.ListOpt(
        'message_encryption_keys',
        default=[],
        secret=True,
        help='Keys for encrypted queues, each as id:key, of at least 16 '
        'characters. The first one encrypts, all of them decrypt: to rotate '
        'keys, add a new one at the front, and remove the old one after its '
        'last message has expired.',
    ),
]

#: Fewest characters of a key; a shorter one could be guessed.
SHORTEST_KEY = 16

#: The id of the key that has none.
_UNNAMED = ''

#: The default of this option in the reference service; it is no secret.
_NO_KEY = 'AES256'

#: First byte of an encrypted body; no JSON text begins with it.
_MARK = b'\x01'
_NONCE = 12

#: Bytes of messages that are decrypted in no event loop.
_LARGE = 256 * 1024

#: Errors of a message that cannot be decrypted.
UNREADABLE = (DecryptionFailed, KeyMissing)

#: Messages that were logged as unreadable, and seconds until the next time.
_LOGGED, _LOG_AGAIN = 10_000, 600

_CONTEXT = b'zaqar message body v1'

#: What is encrypted beside a body: its place names it.
_ATTRIBUTES = 'attributes'


class Cipher:
    """Encrypts and decrypts bodies.

    :param keys: texts by id; the first one encrypts. Empty for none.
    """

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self._keys = {
            name: _Key(_derived(text)) for name, text in (keys or {}).items()
        }
        self._first = next(iter(self._keys), None)
        self._logged: TTLCache[str, bool] = TTLCache(_LOGGED, _LOG_AGAIN)
        self._lock = threading.Lock()

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Cipher:
        conf.register_opts(OPTS, GROUP)
        settings = conf[GROUP]
        if settings.message_encryption_algorithms != 'AES256':
            raise ConfigurationError(
                f'[{GROUP}] message_encryption_algorithms = '
                f'{settings.message_encryption_algorithms}: only AES256 works'
            )
        keys = dict(_named(pair) for pair in settings.message_encryption_keys)
        single = settings.message_encryption_key
        if single and single != _NO_KEY:
            keys.setdefault(_UNNAMED, _checked(single, ''))
        return cls(keys)

    @property
    def has_key(self) -> bool:
        return self._first is not None

    def sealed(self, message: NewMessage, scope: Scope) -> NewMessage:
        """Return a message as it is stored."""
        body = self.encrypt(message.body, scope, message.rnd)
        extras = message_extras_codec.with_attributes(
            message.extras,
            lambda data: self.encrypt(data, scope, message.rnd, _ATTRIBUTES),
        )
        return structs.replace(message, body=body, extras=extras)

    def opened(self, message: Message, scope: Scope) -> Message:
        """Return a message as it was posted.

        :raises KeyMissing: its key is not here
        :raises DecryptionFailed: it was damaged, tampered with or moved
        """
        body = self.decrypt(message.body, scope, message.id)
        extras = message.extras
        if extras is not None:
            extras = message_extras_codec.with_attributes(
                extras,
                lambda data: self.decrypt(
                    data, scope, message.id, _ATTRIBUTES
                ),
            )
        return structs.replace(message, body=body, extras=extras)

    def encrypt(
        self, body: bytes, scope: Scope, rnd: str, part: str = ''
    ) -> bytes:
        """Return a body as it is stored.

        :param rnd: the random half of the message's id
        :param part: what it is, if it is no body
        """
        name = self._first
        if name is None:
            raise StoreUnavailable(
                'The queue is encrypted, and this server has no key.'
            )
        nonce = os.urandom(_NONCE)
        place = _place(name, scope, rnd, part)
        text = self._keys[name].encrypt(nonce, body, place)
        label = name.encode()
        return b''.join((_MARK, bytes([len(label)]), label, nonce, text))

    def decrypt(
        self, body: bytes, scope: Scope, message_id: str, part: str = ''
    ) -> bytes:
        """Return a body as it was posted; a plain one as it is.

        :raises KeyMissing: its key is not here
        :raises DecryptionFailed: it was damaged, tampered with or moved
        """
        if not is_encrypted(body):
            return body
        name: str | None = None
        try:
            name, nonce, text = _parts(body)
            key = self._keys.get(name)
            if key is not None:
                place = _place(name, scope, random_half(message_id), part)
                return key.decrypt(nonce, text, place)
        except ValueError:
            self._log(
                'Message %s of %s failed authenticated decryption with the '
                'key "%s"',
                message_id,
                scope,
                name,
            )
            raise DecryptionFailed(
                f'Message {message_id} could not be decrypted: it was '
                'encrypted with another key, or its stored body was changed.',
                lacks_key=name == _UNNAMED,
            ) from None
        self._log(
            'Message %s of %s was encrypted with the key "%s", which is not '
            'configured here',
            message_id,
            scope,
            name,
        )
        raise KeyMissing('Messages could not be decrypted.')

    def decrypt_readable(
        self, messages: Sequence[Message], scope: Scope
    ) -> tuple[Sequence[Message], bool]:
        """Return decrypted messages, without unreadable ones.

        :returns: also whether a key is missing, or may be
        """
        if _MARK not in [message.body[:1] for message in messages]:
            return messages, False
        if sum(len(message.body) for message in messages) < _LARGE:
            return self._decrypt_readable(messages, scope)
        # The library lets other threads run meanwhile, but not greenlets.
        return offload(self._decrypt_readable, messages, scope)

    def _decrypt_readable(
        self, messages: Sequence[Message], scope: Scope
    ) -> tuple[Sequence[Message], bool]:
        decrypted, lacks_key = [], False
        for message in messages:
            try:
                decrypted.append(self.opened(message, scope))
            except UNREADABLE as error:
                lacks_key |= error.lacks_key
        return decrypted, lacks_key

    def decrypted(
        self, messages: Sequence[Message], scope: Scope
    ) -> Sequence[Message]:
        """Return decrypted messages, without unreadable ones.

        :raises KeyMissing: all are unreadable, and a key is missing
        """
        decrypted, lacks_key = self.decrypt_readable(messages, scope)
        if lacks_key and not decrypted:
            raise KeyMissing('Messages could not be decrypted.')
        return decrypted

    def _log(self, text: str, message_id: str, *arguments: Any) -> None:
        """Log an unreadable message, once in a while."""
        with self._lock:
            is_repeated = message_id in self._logged
            self._logged[message_id] = True
        if not is_repeated:
            LOG.error(text, message_id, *arguments)

    def encrypted(
        self, messages: Sequence[NewMessage], scope: Scope
    ) -> Sequence[NewMessage]:
        return [self.sealed(message, scope) for message in messages]


def is_encrypted(body: bytes) -> bool:
    return body[:1] == _MARK


def _parts(body: bytes) -> tuple[str, bytes, bytes]:
    """Split an encrypted body into name of the key, nonce and ciphertext."""
    start = 2 + int.from_bytes(body[1:2])
    end = start + _NONCE
    return body[2:start].decode(), body[start:end], body[end:]


class _Key:
    """A key; the library is loaded with the first one."""

    def __init__(self, key: bytes) -> None:
        from cryptography import exceptions
        from cryptography.hazmat.primitives.ciphers import aead

        self._cipher = aead.AESGCM(key)
        self._invalid = exceptions.InvalidTag

    def encrypt(self, nonce: bytes, text: bytes, place: bytes) -> bytes:
        return self._cipher.encrypt(nonce, text, place)

    def decrypt(self, nonce: bytes, text: bytes, place: bytes) -> bytes:
        """Return a text.

        :raises ValueError: it was encrypted otherwise
        """
        try:
            return self._cipher.decrypt(nonce, text, place)
        except self._invalid as error:
            raise ValueError from error


def _derived(text: str) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derivation = HKDF(hashes.SHA256(), length=32, salt=None, info=_CONTEXT)
    return derivation.derive(text.encode())


def _place(name: str, scope: Scope, rnd: str, part: str) -> bytes:
    parts = [name, scope.project, scope.kind, scope.name, rnd]
    if part:
        parts.append(part)
    return json.dumps(parts).encode()


def _named(pair: str) -> tuple[str, str]:
    name, colon, text = pair.partition(':')
    if not colon or not name or len(name.encode()) > 64:
        raise ConfigurationError(
            f'[{GROUP}] message_encryption_keys: each key is written as id:key'
        )
    return name, _checked(text, 's')


def _checked(text: str, plural: str) -> str:
    if len(text) < SHORTEST_KEY:
        raise ConfigurationError(
            f'[{GROUP}] message_encryption_key{plural}: a key has at least '
            f'{SHORTEST_KEY} characters'
        )
    return text
