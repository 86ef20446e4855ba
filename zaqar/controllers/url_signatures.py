# SPDX-License-Identifier: Apache-2.0
"""Signatures of pre-signed URLs: make and verify them.

:source: reference/http, "The signature"
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oslo_config import cfg

from zaqar import store_clock
from zaqar.controllers.time_parsing import parse_iso_8601
from zaqar.errors import ConfigurationError, InvalidRequest

GROUP = 'signed_url'

OPTS = [
    cfg.StrOpt(
        'secret_key',
        secret=True,
        help='Key that signs pre-signed URLs and confirmations, at least 16 '
        'bytes, the same on all servers of a cloud. Anyone who knows it can '
        'read and write every queue. Unset: no URL can be created.',
    ),
    # Of any characters, as secret_key is: no list that commas separate.
    cfg.MultiStrOpt(
        'verification_keys',
        default=[],
        secret=True,
        help='Key that verifies signatures as secret_key does, but creates '
        'none. To change the key, add the new one here on all servers; then '
        'make it secret_key and put the old one here; remove that after '
        'max_lifetime.',
    ),
    cfg.IntOpt(
        'max_lifetime',
        default=30 * 86_400,
        min=1,
        help='Maximum lifetime in seconds of a pre-signed URL that is '
        'created.',
    ),
]

#: Fewest bytes of a key; a shorter one could be guessed.
SHORTEST_KEY = 16

#: Between the parts: a backslash and an "n", not a line feed.
_SEPARATOR = '\\n'

#: Between a signature for one queue alone and the queue's fingerprint.
_BOUND = '.'

#: Text that no method may contain: it could be read as the end of the methods,
#: so that a signature would cover requests that were never signed.
_ENDS_PART = re.compile(r'\\n|[\x00-\x1f\x7f]')

_FINGERPRINT = re.compile('[0-9a-f]{16}')


@dataclass(frozen=True)
class Grant:
    """What a signature allows, as it was sent; moments are ISO 8601.

    :ivar fingerprint: of the only queue for which it counts, '' for any queue
        of the name; see :class:`zaqar.objects.Queue`
    """

    paths: Sequence[str]
    methods: Sequence[str]
    project: str
    expires: str
    fingerprint: str = ''


class Signer:
    """Signs and verifies.

    :param key: None if there is none; then nothing can be signed
    :param wall: this process's clock, in milliseconds
    :param others: keys that verify beside it
    :ivar max_lifetime: seconds for which a pre-signed URL may be valid
    """

    def __init__(
        self,
        key: str | None = None,
        wall: Callable[[], int] = store_clock.wall_ms,
        others: Sequence[str] = (),
        max_lifetime: int = 30 * 86_400,
    ) -> None:
        self._key = key.encode() if key else None
        self._keys = [one.encode() for one in (key, *others) if one]
        self._wall = wall
        self.max_lifetime = max_lifetime

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Signer:
        conf.register_opts(OPTS, GROUP)
        settings = conf[GROUP]
        _check_length('secret_key', settings.secret_key)
        for key in settings.verification_keys:
            _check_length('verification_keys', key)
        return cls(
            settings.secret_key,
            others=settings.verification_keys,
            max_lifetime=settings.max_lifetime,
        )

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def sign(self, grant: Grant) -> str:
        """Return the signature: hex, with the fingerprint if there is one.

        :raises InvalidRequest: there is no key, or a method is none
        :raises ValueError: ``expires`` is no moment
        """
        if self._key is None:
            raise InvalidRequest("The `key` can't be None")
        return _signature(self._key, grant, _text(grant))

    def admits(
        self, grant: Grant, signature: str, method: str, path: str
    ) -> bool:
        """Tell whether a signed grant allows a request."""
        if method not in grant.methods:
            return False
        if not any(_within(path, allowed) for allowed in grant.paths):
            return False
        try:
            grant = dataclasses.replace(
                grant, fingerprint=fingerprint_of(signature)
            )
            text = _text(grant)
            is_over = parse_iso_8601(grant.expires) <= self.now()
        except (InvalidRequest, ValueError):
            return False
        # As bytes: text with other than ASCII cannot be compared.
        given, is_right = signature.encode(), False
        for key in self._keys:
            # All of them, so that the time does not tell which one it was.
            expected = _signature(key, grant, text).encode()
            is_right |= hmac.compare_digest(expected, given)
        return is_right and not is_over

    def now(self) -> datetime.datetime:
        """Return the time, in UTC."""
        return datetime.datetime.fromtimestamp(
            self._wall() / 1000, datetime.UTC
        )


def fingerprint_of(signature: str) -> str:
    """Return the fingerprint that a signature names, '' if none.

    :raises ValueError: it is malformed
    """
    _, bound, fingerprint = signature.partition(_BOUND)
    if bound and not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError(signature)
    return fingerprint


def shown(time: datetime.datetime) -> str:
    """Return a moment as it is signed and shown: whole seconds, no zone."""
    return time.replace(tzinfo=None).isoformat(timespec='seconds')


def _text(grant: Grant) -> str:
    """Return what is signed.

    :raises InvalidRequest: a method is none
    :raises ValueError: ``expires`` is no moment
    """
    if any(map(_ENDS_PART.search, grant.methods)):
        raise InvalidRequest('`methods` may not hold line feeds')
    parts = [
        ','.join(sorted(grant.paths)),
        ','.join(sorted(grant.methods)),
        grant.project,
        shown(parse_iso_8601(grant.expires)),
    ]
    if grant.fingerprint:
        # No moment: the text is not that of another grant without one.
        parts.append(grant.fingerprint)
    return _SEPARATOR.join(parts)


def _signature(key: bytes, grant: Grant, text: str) -> str:
    mac = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if grant.fingerprint:
        return f'{mac}{_BOUND}{grant.fingerprint}'
    return mac


def _check_length(option: str, key: str | None) -> None:
    if key and len(key.encode()) < SHORTEST_KEY:
        raise ConfigurationError(
            f'[{GROUP}] {option} is too short; {SHORTEST_KEY} bytes are needed'
        )


def _within(path: str, allowed: str) -> bool:
    return path == allowed or path.startswith(f'{allowed}/')
