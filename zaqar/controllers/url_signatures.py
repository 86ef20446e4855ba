# SPDX-License-Identifier: Apache-2.0
"""Signatures of pre-signed URLs: make and verify them.

:source: reference/http, "The signature"
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oslo_config import cfg

from zaqar import store_clock
from zaqar.errors import ConfigurationError, InvalidRequest

GROUP = 'signed_url'

OPTS = [
    cfg.StrOpt(
        'secret_key',
        secret=True,
        help='Key that signs pre-signed URLs and confirmations, at least 16 '
        'bytes, the same on all servers of a cloud. Anyone who knows it can '
        'read and write every queue. Unset: no URL can be created or used.',
    ),
]

#: Fewest bytes of a key; a shorter one could be guessed.
SHORTEST_KEY = 16

#: Between the parts: a backslash and an "n", not a line feed.
_SEPARATOR = '\\n'

#: Text that no method may contain: it could be read as the end of the methods,
#: so that a signature would cover requests that were never signed.
_ENDS_PART = re.compile(r'\\n|[\x00-\x1f\x7f]')

_MOMENT = re.compile(
    r'\d{4}-\d\d-\d\d'
    r'([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?)?'
    r'(Z|[+-]\d\d(:?\d\d)?)?'
)


@dataclass(frozen=True)
class Grant:
    """What a signature allows, as it was sent; moments are ISO 8601."""

    paths: Sequence[str]
    methods: Sequence[str]
    project: str
    expires: str


class Signer:
    """Signs and verifies.

    :param key: None if there is none; then nothing can be signed, and
        nothing verifies
    :param wall: this process's clock, in milliseconds
    """

    def __init__(
        self,
        key: str | None = None,
        wall: Callable[[], int] = store_clock.wall_ms,
    ) -> None:
        self._key = key.encode() if key else None
        self._wall = wall

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Signer:
        conf.register_opts(OPTS, GROUP)
        key = conf[GROUP].secret_key
        if key and len(key.encode()) < SHORTEST_KEY:
            raise ConfigurationError(
                f'[{GROUP}] secret_key is too short; {SHORTEST_KEY} bytes '
                'are needed'
            )
        return cls(key)

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def sign(self, grant: Grant) -> str:
        """Return the signature as lower-case hex.

        :raises InvalidRequest: there is no key, or a method is none
        :raises ValueError: ``expires`` is no moment
        """
        if self._key is None:
            raise InvalidRequest("The `key` can't be None")
        if any(map(_ENDS_PART.search, grant.methods)):
            raise InvalidRequest('`methods` may not hold line feeds')
        text = _SEPARATOR.join(
            (
                ','.join(sorted(grant.paths)),
                ','.join(sorted(grant.methods)),
                grant.project,
                shown(moment(grant.expires)),
            )
        )
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def admits(
        self, grant: Grant, signature: str, method: str, path: str
    ) -> bool:
        """Tell whether a signed grant allows a request."""
        if self._key is None or method not in grant.methods:
            return False
        if not any(_within(path, allowed) for allowed in grant.paths):
            return False
        try:
            expected = self.sign(grant)
            is_over = moment(grant.expires) <= self.now()
        except (InvalidRequest, ValueError):
            return False
        # As bytes: text with other than ASCII cannot be compared.
        is_right = hmac.compare_digest(expected.encode(), signature.encode())
        return is_right and not is_over

    def now(self) -> datetime.datetime:
        """Return the time, in UTC."""
        return datetime.datetime.fromtimestamp(
            self._wall() / 1000, datetime.UTC
        )


def moment(text: str) -> datetime.datetime:
    """Return the moment that a text names; one without a zone is UTC.

    :raises ValueError: it names none
    """
    if not _MOMENT.fullmatch(text):
        raise ValueError(text)
    parsed = datetime.datetime.fromisoformat(text.replace(',', '.'))
    if parsed.tzinfo is None:
        return parsed.replace(tzinfo=datetime.UTC)
    try:
        return parsed.astimezone(datetime.UTC)
    except OverflowError:
        raise ValueError(text) from None


def shown(time: datetime.datetime) -> str:
    """Return a moment as it is signed and shown: whole seconds, no zone."""
    return time.replace(tzinfo=None).isoformat(timespec='seconds')


def _within(path: str, allowed: str) -> bool:
    return path == allowed or path.startswith(f'{allowed}/')
