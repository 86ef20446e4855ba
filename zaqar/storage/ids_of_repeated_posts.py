# SPDX-License-Identifier: Apache-2.0
"""Ids of repeated posts: what the token of a post leads to."""

from collections.abc import Sequence

from zaqar.objects import NewMessage, random_half
from zaqar.storage.post_call_parameters import PostCall

#: What the id begins with that tells who has posted duplicates only.
_NOWHERE = '0' * 16


class RepeatedIds(list[str]):
    """Ids that are those of another post with the same token."""


def to_remember(
    post: PostCall, ids: Sequence[str], places: Sequence[int]
) -> Sequence[str]:
    """Return what the token of a post leads to.

    Behind the ids of a post of which nothing is stored is one that no message
    has: by its random half the post is known, see :func:`repeated`.

    :param places: of the messages that are stored
    """
    if places or not post.fingerprint:
        return ids
    return [*ids, mark(post.messages)]


def mark(messages: Sequence[NewMessage]) -> str:
    """Return the id that stands for a post of which nothing is stored."""
    return _NOWHERE + messages[0].rnd


def repeated(
    messages: Sequence[NewMessage], ids: Sequence[str]
) -> Sequence[str]:
    """Return the ids of a post whose token was known.

    They are :class:`RepeatedIds` unless the post itself had stored them, and
    was sent again by the store since its answer was lost: no other post has
    the random halves of its messages.

    :param ids: what the token leads to, see :func:`to_remember`
    """
    halves = {item.rnd for item in messages}
    is_own = not halves.isdisjoint(map(random_half, ids))
    ids = ids[: len(messages)]
    return ids if is_own else RepeatedIds(ids)
