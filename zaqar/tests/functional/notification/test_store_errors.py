# SPDX-License-Identifier: Apache-2.0
"""Stores that fail for a moment cost no delivery, and no receiver its rest."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.errors import StoreUnavailable
from zaqar.notification.cached_subscription_lookup import SubscriptionLookup
from zaqar.notification.delivery_event_loop import UNKNOWN_PAUSE
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.tests.functional.notification.conftest import MakeReceiver
from zaqar.tests.functional.notification.rig import Rig
from zaqar.tests.servers.receivers import Receiver, answer


def test_what_fails_in_an_unknown_way_is_written_later(
    rig: Rig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [RuntimeError('a driver has a bug')]
    delete = rig.store.delete_many

    def fail_once(qid: str, *given: Any, **more: Any) -> Any:
        if qid == OUTBOX and errors:
            raise errors.pop()
        return delete(qid, *given, **more)

    monkeypatch.setattr(rig.store, 'delete_many', fail_once)
    rig.subscribe(receiver.url)
    rig.post('x')
    receiver.wait(1)
    rig.rests()
    assert not errors


def test_a_receiver_is_left_in_peace_while_its_policy_cannot_be_read(
    rig: Rig, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = make_receiver(answer(503))
    rig.subscribe(receiver.url)
    errors = []

    def fail(*given: Any) -> Any:
        errors.append(given)
        raise StoreUnavailable

    monkeypatch.setattr(SubscriptionLookup, 'policy', fail)
    rig.post('x')
    receiver.wait(1)
    rig.until(lambda: errors)
    # It writes what it has decided.
    rig.stop()
    assert len(receiver.got) == len(errors) == 1
    monkeypatch.undo()
    rig.ahead = UNKNOWN_PAUSE + 1
    rig.start()
    receiver.wait(2)
