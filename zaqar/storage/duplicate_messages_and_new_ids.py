# SPDX-License-Identifier: Apache-2.0
"""Which messages of a post are duplicates, and new ids for the others."""

from collections.abc import Mapping, Sequence

from zaqar.storage.message_ids import id_of
from zaqar.storage.post_call_parameters import PostCall


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
