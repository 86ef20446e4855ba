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
    rigs: list[Rig] = []

    def make(*, running: bool = True, **settings: Any) -> Rig:
        rig = Rig(tmp_path, **settings)
        rigs.append(rig)
        if running:
            rig.start()
        return rig

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A notifier as usual."""
    return make_rig()


@pytest.fixture
def make_receiver() -> Iterator[MakeReceiver]:
    """Makes receivers."""
    receivers: list[Receiver] = []

    def make(*arguments: Any, **options: Any) -> Receiver:
        receivers.append(Receiver(*arguments, **options))
        return receivers[-1]

    yield make
    for receiver in receivers:
        receiver.stop()


@pytest.fixture
def receiver(make_receiver: MakeReceiver) -> Receiver:
    """A receiver that is content."""
    return make_receiver()


@pytest.fixture
def make_silent() -> Iterator[MakeSilent]:
    """Makes servers that hang."""
    sockets: list[Silent] = []

    def make(*arguments: Any) -> Silent:
        sockets.append(Silent(*arguments))
        return sockets[-1]

    yield make
    for silent in sockets:
        silent.stop()
