# SPDX-License-Identifier: Apache-2.0
"""Arguments and answers of the script that settles messages of a claim."""

from collections.abc import Sequence
from typing import Any

from zaqar.objects import Act, Settlement
from zaqar.storage import rejection_reason_encoding
from zaqar.storage.message_ids import is_id

_LETTERS = {Act.DELETE: 'd', Act.RELEASE: 'f', Act.EXTEND: 'e'}


def arguments(
    settlements: Sequence[Settlement], now: int
) -> tuple[Sequence[int], Sequence[Any]]:
    """Return places of those that can be held, and the script's arguments."""
    places = [
        place
        for place, item in enumerate(settlements)
        if is_id(item.message_id)
    ]
    ids = [settlements[place].message_id for place in places]
    if all(item.act is Act.DELETE for item in settlements):
        return places, [len(ids), *ids]
    acts: list[Any] = []
    for place in places:
        item = settlements[place]
        reason = item.reason
        acts += (
            _LETTERS[item.act],
            item.end(now) if item.seconds else '',
            item.seconds,
            int(not item.failed),
            int(reason is not None),
            '' if reason is None else rejection_reason_encoding.encode(reason),
        )
    return places, [len(ids), *ids, *acts]


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
    if len(numbers) == count:
        return [True] * count
    held = {places[number - 1] for number in numbers}
    return [place in held for place in range(count)]
