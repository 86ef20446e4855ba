# SPDX-License-Identifier: Apache-2.0
"""The messages that producers choose from."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from zaqar.errors import ConfigurationError

#: Name of the file that is looked for beside the configuration.
FILE_NAME = 'zaqar-benchmark-messages.json'

TTL = 300


class Sample(msgspec.Struct):
    """One entry of the file: ``{"weight": 0.5, "doc": {"ttl", "body"}}``."""

    weight: Annotated[float, msgspec.Meta(ge=0, le=1)]
    doc: Mapping[str, Any]


class Pool:
    """Weighted sample messages.

    :param samples: with weights that add up to one
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._docs = [sample.doc for sample in samples]
        self._weights = [sample.weight for sample in samples]

    def draw(self, count: int) -> Sequence[Mapping[str, Any]]:
        """Return messages as a post carries them."""
        return random.choices(self._docs, self._weights, k=count)


def load(path: str | None, beside: Sequence[str], size: int) -> Pool:
    """Return the messages of a file, or one of ``size`` bytes.

    :param beside: configuration files in whose folders to look
    :raises ConfigurationError: the file is not what it should be
    """
    chosen = pathlib.Path(path) if path else _beside(beside)
    if chosen is None:
        return Pool([Sample(1.0, {'ttl': TTL, 'body': 'x' * size})])
    try:
        samples = msgspec.json.decode(chosen.read_bytes(), type=list[Sample])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f'{chosen}: {error}') from error
    if abs(sum(sample.weight for sample in samples) - 1) > 1e-6:
        raise ConfigurationError(f'{chosen}: the weights must add up to 1')
    return Pool(samples)


def _beside(files: Sequence[str]) -> pathlib.Path | None:
    for file in files:
        path = pathlib.Path(file).with_name(FILE_NAME)
        if path.is_file():
            return path
    return None
