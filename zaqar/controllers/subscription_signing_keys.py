# SPDX-License-Identifier: Apache-2.0
"""Keys with which requests to a subscriber are signed.

Each subscription has its own. Either the client brings it, by the option
``_signing_secret``, or the service makes it; then a second option holds what
else there is to know of it. No response shows either option.

:source: reference/delivery, "Signatures"
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zaqar.controllers import subscription_records as records
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.webhook_secret_format import OPTION, PREFIX
from zaqar.errors import Forbidden, NotFound
from zaqar.objects import Scope
from zaqar.storage.record_updates_and_listing import repeat

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


def show(ctx: Context, *, scope: Scope, subscription_id: str) -> Key:
    """Return the key of a subscription.

    :raises NotFound: it does not exist, or the service has made no key for it
    :raises Forbidden: the caller has nothing but a pre-signed URL
    """
    _check_caller(ctx)
    now = ctx.catalogue.management.clock.now()
    subscription, _ = records.current(ctx, scope, subscription_id, now)
    key = made(subscription.options, now)
    if key is None:
        raise NotFound(
            f'The service has made no secret for subscription '
            f'{subscription_id}. POST makes one, in place of any other.'
        )
    return key


def rotate(ctx: Context, *, scope: Scope, subscription_id: str) -> Key:
    """Make another key; the former one stays valid for a day.

    :raises NotFound: the subscription does not exist
    :raises Forbidden: the caller has nothing but a pre-signed URL
    """
    _check_caller(ctx)
    now = ctx.catalogue.management.clock.now()

    def attempt() -> Key | None:
        old, version = records.current(ctx, scope, subscription_id, now)
        options = rotated(old.options, now)
        data = {**records.data_of(old), 'options': options}
        if not records.replace(ctx, scope, old, data, version):
            return None
        return made(options, now)

    return repeat(attempt)


def _check_caller(ctx: Context) -> None:
    # Such a URL gives access to the subscriptions of a queue, but whoever has
    # a secret can forge what their receivers get.
    if ctx.identity.signed is not None:
        raise Forbidden
