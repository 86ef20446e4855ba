# SPDX-License-Identifier: Apache-2.0
"""Compares posted with stored messages, without I/O."""

from __future__ import annotations

import collections
import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass


class Outcome(enum.Enum):
    """What the poster knows of a post, which is tried once."""

    ACKNOWLEDGED = 'acknowledged'
    UNKNOWN = 'unknown'


@dataclass(frozen=True)
class Post:
    """A post and its outcome.

    :ivar poster: who posts one after the other
    :ivar bodies: of its messages, unlike all others
    :ivar ids: as they were acknowledged, else empty
    """

    poster: int
    bodies: Sequence[str]
    outcome: Outcome
    ids: Sequence[str] = ()


@dataclass(frozen=True)
class Listed:
    """A message as a list shows it."""

    id: str
    body: str


def violations(posts: Sequence[Post], listing: Sequence[Listed]) -> list[str]:
    """Return violations of the promises, a line each; empty for none.

    :param posts: those of one poster in the order in which they were made
    :param listing: the whole queue, in its order
    """
    places: dict[str, list[int]] = collections.defaultdict(list)
    for place, message in enumerate(listing):
        places[message.body].append(place)
    return [
        *_unexpected(posts, places),
        *_repeated_ids(listing),
        *(line for post in posts for line in _faults(post, places, listing)),
        *_disorder(posts, places),
    ]


def _unexpected(
    posts: Sequence[Post], places: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    posted = {body for post in posts for body in post.bodies}
    for body in places:
        if body not in posted:
            yield f'{body} was never posted'


def _repeated_ids(listing: Sequence[Listed]) -> Iterator[str]:
    counts = collections.Counter(message.id for message in listing)
    for message_id, count in counts.items():
        if count > 1:
            yield f'the id {message_id} is there {count} times'


def _faults(
    post: Post,
    places: Mapping[str, Sequence[int]],
    listing: Sequence[Listed],
) -> Iterator[str]:
    counts = [len(places.get(body, ())) for body in post.bodies]
    acknowledged = post.outcome is Outcome.ACKNOWLEDGED
    for body, count in zip(post.bodies, counts, strict=True):
        if count > 1:
            yield f'{body} ({post.outcome.value}) is there {count} times'
        if count == 0 and acknowledged:
            yield f'{body} was acknowledged and is lost'
    if not acknowledged and 0 < sum(map(bool, counts)) < len(counts):
        yield f'{post.bodies[0]}: a part of its post is there'
    if acknowledged:
        yield from _wrong_ids(post, places, listing)


def _wrong_ids(
    post: Post,
    places: Mapping[str, Sequence[int]],
    listing: Sequence[Listed],
) -> Iterator[str]:
    if len(post.ids) != len(post.bodies):
        yield f'{post.bodies[0]}: acknowledged with {len(post.ids)} ids'
        return
    for body, message_id in zip(post.bodies, post.ids, strict=True):
        for place in places.get(body, ()):
            if listing[place].id != message_id:
                yield f'{body} has another id than was acknowledged'


def _disorder(
    posts: Sequence[Post], places: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    """Find what a poster had acknowledged earlier and that stands later."""
    last: dict[int, int] = {}
    for post in posts:
        if post.outcome is not Outcome.ACKNOWLEDGED:
            continue
        for body in post.bodies:
            place = min(places.get(body, ()), default=None)
            if place is None:
                continue
            if place < last.get(post.poster, -1):
                yield f'{body} stands before what was posted before it'
            last[post.poster] = place


def counts(posts: Iterable[Post]) -> Mapping[Outcome, int]:
    """Return how many posts ended in which way."""
    return collections.Counter(post.outcome for post in posts)
