# SPDX-License-Identifier: Apache-2.0
"""Parameters of a call of :meth:`.abstract_stores.MessageStore.post`.

Several of one queue may be stored together; see
:mod:`zaqar.storage.group_commit`.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import TOKEN_LIFETIME

#: Bytes of a message beside its body.
_ROW = 300


#: Returns the notice of some places of a post, of all of them without.
Notice = Callable[..., NewMessage]


class PostCall(msgspec.Struct, frozen=True):
    """The messages of one call.

    :ivar notice: creates the notice; takes the places of the messages that
        were stored, None for all, which are made into one once at most
    """

    qid: str
    token: str
    messages: Sequence[NewMessage]
    now: int
    notice: Notice | None = None
    version: int | None = None
    dedup_window: int = 0
    fingerprint: str = ''
    token_lifetime: int = TOKEN_LIFETIME

    def __post_init__(self) -> None:
        if self.notice is not None:
            notice = _of_all_once(self.notice, self.messages)
            structs.force_setattr(self, 'notice', notice)
        if self.dedup_window and not any(
            item.dedup_id is not None for item in self.messages
        ):
            structs.force_setattr(self, 'dedup_window', 0)

    @property
    def is_ordinary(self) -> bool:
        """Whether it has no duplicates to look for, and no fingerprint."""
        return not self.dedup_window and not self.fingerprint

    def dedup_id(self, item: NewMessage) -> str | None:
        """Return the text by which a duplicate of a message is recognized."""
        return item.dedup_id if self.dedup_window else None

    def dedup_end(self, now: int) -> int:
        """Return until when ids of the post recognize duplicates."""
        return now + self.dedup_window * 1000

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
        longest = self.token_lifetime
        for item in self.messages:
            if item.id:
                longest = max(longest, item.ttl * 1000)
        return now + longest


def _of_all_once(
    make: Callable[[Sequence[int]], NewMessage],
    messages: Sequence[NewMessage],
) -> Notice:
    """Return a function that makes the notice of all messages only once."""
    made: list[NewMessage] = []

    def get(places: Sequence[int] | None = None) -> NewMessage:
        if places is not None and len(places) < len(messages):
            return make(places)
        if not made:
            made.append(make(range(len(messages))))
        return made[0]

    return get
