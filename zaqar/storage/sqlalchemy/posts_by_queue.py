# SPDX-License-Identifier: Apache-2.0
"""Posts that are stored together, grouped by queue; and their results."""

from collections.abc import Mapping, Sequence

from zaqar.storage.post_call_parameters import PostCall

#: Newer than all metadata.
_ANY_VERSION = 2**63 - 1


def by_queue(posts: Sequence[PostCall]) -> dict[str, list[PostCall]]:
    """Group posts by queues.

    Of concurrent calls of the same post there is only one.
    """
    queues: dict[str, dict[str, PostCall]] = {}
    for post in posts:
        queues.setdefault(post.qid, {}).setdefault(post.token, post)
    return {qid: [*group.values()] for qid, group in queues.items()}


def oldest_version(posts: Sequence[PostCall]) -> int:
    """Return the version of the oldest metadata that posts rest on."""
    versions = [post.version for post in posts if post.version is not None]
    return min(versions, default=_ANY_VERSION)


def results(
    posts: Sequence[PostCall],
    stored: Mapping[tuple[str, str], Sequence[str]],
) -> list[Sequence[str] | None]:
    """Return the ids of each post, or None if it is not stored.

    :param stored: ids by queue and token
    """
    rest = {**stored}
    return [rest.pop((post.qid, post.token), None) for post in posts]
