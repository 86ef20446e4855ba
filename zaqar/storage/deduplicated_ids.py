# SPDX-License-Identifier: Apache-2.0
"""Ids of posts some of whose messages are duplicates."""

from collections.abc import Mapping, Sequence

from zaqar.objects import NewMessage, random_half
from zaqar.storage.message_ids import id_of
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


def names(post: PostCall) -> Sequence[str]:
    """Return what duplicates are recognized by, each once."""
    if not post.dedup_window:
        return ()
    ids = map(post.dedup_id, post.messages)
    return [*dict.fromkeys(name for name in ids if name)]


def assign_ids(
    post: PostCall, first: int, known: Mapping[str, str]
) -> tuple[list[str], Sequence[int], dict[str, str]]:
    """Give numbers to the messages of a post that are no duplicates.

    :param first: the next number of the queue
    :param known: ids of messages by what their duplicates are recognized by
    :returns: the id of each message, the places in the post of those that are
        to be stored, and what their duplicates will be recognized by
    """
    new: dict[str, str] = {}
    if not post.dedup_window:
        numbered = enumerate(post.messages, first)
        ids = [id_of(item, seq) for seq, item in numbered]
        return ids, range(len(ids)), new
    ids = []
    places: list[int] = []
    for place, item in enumerate(post.messages):
        name = post.dedup_id(item)
        same = known.get(name) or new.get(name) if name else None
        if same is None:
            same = id_of(item, first + len(places))
            places.append(place)
            if name:
                new[name] = same
        ids.append(same)
    return ids, places, new
