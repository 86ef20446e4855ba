# SPDX-License-Identifier: Apache-2.0
"""Keys with which requests to a subscriber are signed.

Each subscription has its own. Either the client brings it, by the option
``_signing_secret``, or the service makes it; then a second option holds what
else there is to know of it. No response shows either option.

:source: reference/delivery, "Signatures"
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zaqar.controllers.webhook_secret_format import OPTION, PREFIX

#: The option with the :class:`_Beside` of a key; no client sets it.
BESIDE = '_signing_keys'

#: Bytes of a key, and milliseconds for which a former one stays valid.
SIZE = 32
FORMER_LIFETIME = 86_400_000

Options = Mapping[str, Any]


class Key(msgspec.Struct, frozen=True):
    """A key that the service has made, as its owner sees it.

    :ivar former_until: when the former one stops to sign, None without one
    """

    secret: str
    former_until: int | None = None


class _Beside(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is recorded beside a key that the service has made."""

    former: str | None = None
    until: int = 0

    def is_valid(self, now: int) -> bool:
        return self.former is not None and now < self.until


def added(options: Options) -> Options:
    """Return options of a new subscription, with a key if they bring none."""
    if options.get(OPTION) is not None:
        return options
    return {**options, OPTION: _made(), BESIDE: {}}


def updated(old: Options, new: Options) -> Options:
    """Return options that a client sets in place of old ones.

    A client that updates what it is shown must not lose the key; null removes
    it, and another one takes its place at once.
    """
    if OPTION not in new:
        return {
            **new,
            **{name: old[name] for name in (OPTION, BESIDE) if name in old},
        }
    options = dict(new)
    if options[OPTION] is None:
        del options[OPTION]
    return options


def rotated(options: Options, now: int) -> Options:
    """Return options with another key; the former one stays for a day."""
    former = options.get(OPTION)
    beside = _Beside(former, now + FORMER_LIFETIME) if former else _Beside()
    return {
        **options,
        OPTION: _made(),
        BESIDE: msgspec.to_builtins(beside),
    }


def made(options: Options, now: int) -> Key | None:
    """Return the key that the service has made, None if it has made none."""
    secret = options.get(OPTION)
    if BESIDE not in options or not isinstance(secret, str):
        return None
    beside = _beside(options)
    return Key(secret, beside.until if beside.is_valid(now) else None)


def valid(options: Options, now: int) -> Sequence[str]:
    """Return the secrets that sign, the newest first.

    :param now: in milliseconds
    """
    current = options.get(OPTION)
    signing = [current] if current and isinstance(current, str) else []
    if BESIDE in options:
        beside = _beside(options)
        if beside.former is not None and beside.is_valid(now):
            signing.append(beside.former)
    return signing


def _beside(options: Options) -> _Beside:
    try:
        return msgspec.convert(options[BESIDE], _Beside)
    except msgspec.ValidationError:
        # A client stored it through a process of an earlier release, to which
        # the option is a free one.
        return _Beside()


def _made() -> str:
    key = base64.b64encode(secrets.token_bytes(SIZE)).decode()
    return f'{PREFIX}{key}'
