# SPDX-License-Identifier: Apache-2.0
"""Arguments and answers of the script that settles messages of a claim."""

from collections.abc import Sequence
from typing import Any

from zaqar.objects import Act, Settlement
from zaqar.storage import rejection_reason_encoding
from zaqar.storage.redis import message_codec

_LETTERS = {Act.DELETE: 'd', Act.RELEASE: 'f', Act.EXTEND: 'e'}


def arguments(
    settlements: Sequence[Settlement], now: int
) -> tuple[Sequence[int], Sequence[Any]]:
    """Return places of those that can be held, and the script's arguments."""
    deletes_all = all(item.act is Act.DELETE for item in settlements)
    places: list[int] = []
    triples: list[Any] = []
    acts: list[Any] = []
    for place, item in enumerate(settlements):
        triple = message_codec.triple(item.message_id)
        if triple is None:
            continue
        places.append(place)
        triples += triple
        if deletes_all:
            continue
        reason = item.reason
        acts += (
            _LETTERS[item.act],
            item.end(now) if item.seconds else '',
            item.seconds,
            int(not item.failed),
            int(reason is not None),
            '' if reason is None else rejection_reason_encoding.encode(reason),
        )
    return places, [len(places), *triples, *acts]


def results(
    places: Sequence[int], answer: Sequence[int], count: int
) -> Sequence[bool] | None:
    """Return whether each message was held, None if there is no claim.

    :param places: those of :func:`arguments`
    :param count: how many settlements there were
    """
    is_live, *numbers = answer
    if not is_live:
        return None
    held = {places[number - 1] for number in numbers}
    return [place in held for place in range(count)]
