# SPDX-License-Identifier: Apache-2.0
"""Sample messages that producers post, by weight."""

import pathlib
import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from zaqar.errors import ConfigurationError

#: File that is read from the folder of the configuration.
FILE_NAME = 'zaqar-benchmark-messages.json'

TTL = 300


class SampleMessage(msgspec.Struct):
    """An entry of the file: ``{"weight": 0.5, "doc": {"ttl", "body"}}``."""

    weight: Annotated[float, msgspec.Meta(ge=0, le=1)]
    doc: Mapping[str, Any]


class SampleMessages:
    """Messages to draw from, with weights that add up to one."""

    def __init__(self, entries: Sequence[SampleMessage]) -> None:
        self._docs = [entry.doc for entry in entries]
        self._weights = [entry.weight for entry in entries]

    def draw(self, count: int) -> Sequence[Mapping[str, Any]]:
        """Return random messages for a post."""
        return random.choices(self._docs, self._weights, k=count)


def load(path: str | None, beside: Sequence[str], size: int) -> SampleMessages:
    """Read the messages of a file; without one, make one of ``size`` bytes.

    :param beside: configuration files, in whose folders to search
    """
    chosen = pathlib.Path(path) if path else _beside(beside)
    if chosen is None:
        return SampleMessages(
            [SampleMessage(1.0, {'ttl': TTL, 'body': 'x' * size})]
        )
    try:
        entries = msgspec.json.decode(
            chosen.read_bytes(), type=list[SampleMessage]
        )
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f'{chosen}: {error}') from error
    if abs(sum(entry.weight for entry in entries) - 1) > 1e-6:
        raise ConfigurationError(f'{chosen}: the weights must add up to 1')
    return SampleMessages(entries)


def _beside(files: Sequence[str]) -> pathlib.Path | None:
    for file in files:
        path = pathlib.Path(file).with_name(FILE_NAME)
        if path.is_file():
            return path
    return None
