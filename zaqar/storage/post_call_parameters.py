# SPDX-License-Identifier: Apache-2.0
"""Parameters of a call of :meth:`zaqar.storage.base.MessageStore.post`.

Several of one queue may be stored together; see
:mod:`zaqar.storage.group_commit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from zaqar.models import NewMessage
from zaqar.storage.base import TOKEN_LIFETIME

#: Bytes of a message beside its body.
_ROW = 300


class PostCall(msgspec.Struct, frozen=True):
    """The messages of one call.

    :ivar notice: creates the notice, once at most
    """

    qid: str
    token: str
    messages: Sequence[NewMessage]
    now: int
    notice: Callable[[], NewMessage] | None = None
    version: int | None = None

    def __post_init__(self) -> None:
        if self.notice is not None:
            structs.force_setattr(self, 'notice', _once(self.notice))

    @property
    def size(self) -> int:
        """Bytes that its messages take, roughly."""
        return sum(
            _ROW + len(item.body) + len(item.extras or b'')
            for item in self.messages
        )

    def token_expiry(self, now: int) -> int:
        """Return until when the token must be remembered.

        That of a dead letter lives as long as the message.
        """
        lifetimes = [item.ttl * 1000 for item in self.messages if item.id]
        return now + max([TOKEN_LIFETIME, *lifetimes])


def _once(make: Callable[[], NewMessage]) -> Callable[[], NewMessage]:
    """Return a function that returns what the first call has made."""
    made: list[NewMessage] = []

    def get() -> NewMessage:
        if not made:
            made.append(make())
        return made[0]

    return get
