# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a notifier, and receivers that end with the test."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.tests.functional.notification.rig import Rig
from zaqar.tests.servers.receivers import Receiver, Silent

MakeRig = Callable[..., Rig]
MakeReceiver = Callable[..., Receiver]
MakeSilent = Callable[..., Silent]


@pytest.fixture
def make_rig(tmp_path: pathlib.Path) -> Iterator[MakeRig]:
    """Makes a notifier that runs, on a store of the test's own."""
    made: list[Rig] = []

    def make(*, running: bool = True, **settings: Any) -> Rig:
        rig = Rig(tmp_path, **settings)
        made.append(rig)
        if running:
            rig.start()
        return rig

    yield make
    for rig in made:
        rig.close()


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A notifier as usual."""
    return make_rig()


@pytest.fixture
def make_receiver() -> Iterator[MakeReceiver]:
    """Makes receivers."""
    made: list[Receiver] = []

    def make(*arguments: Any, **options: Any) -> Receiver:
        made.append(Receiver(*arguments, **options))
        return made[-1]

    yield make
    for receiver in made:
        receiver.stop()


@pytest.fixture
def receiver(make_receiver: MakeReceiver) -> Receiver:
    """A receiver that is content."""
    return make_receiver()


@pytest.fixture
def make_silent() -> Iterator[MakeSilent]:
    """Makes servers that hang."""
    made: list[Silent] = []

    def make(*arguments: Any) -> Silent:
        made.append(Silent(*arguments))
        return made[-1]

    yield make
    for silent in made:
        silent.stop()
