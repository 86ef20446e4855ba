# SPDX-License-Identifier: Apache-2.0
"""Redrives by notifiers: in this process, and killed as processes."""

from __future__ import annotations

import pytest

from benchmarks import redrive_soak
from zaqar.controllers import redrives
from zaqar.controllers.redrive_records import Redrive
from zaqar.controllers.result_types import StartedRedrive
from zaqar.objects import Scope
from zaqar.tests.functional.notification.conftest import (
    MakeReceiver,
    MakeRig,
)
from zaqar.tests.functional.notification.rig import Rig
from zaqar.tests.servers.receivers import answer

DEAD = Scope('p', 'dead')


def begin(rig: Rig, **document: object) -> str:
    """Request a redrive of dead letters."""
    started = redrives.create(rig.ctx, scope=DEAD, document=document)
    assert isinstance(started, StartedRedrive)
    return started.id


def ended(rig: Rig, redrive_id: str) -> Redrive:
    """Wait for the end of a redrive."""

    def show() -> Redrive:
        return redrives.get(rig.ctx, scope=DEAD, redrive_id=redrive_id)

    rig.until(lambda: show().has_ended)
    return show()


def test_a_notifier_does_the_work_of_redrives(rig: Rig) -> None:
    rig.post(*range(20), queue='dead')
    redrive = ended(rig, begin(rig, to='work', rate=100))
    assert (redrive.status, redrive.moved) == ('done', 20)
    assert rig.bodies('work') == [*range(20)]
    assert rig.bodies('dead') == []


def test_another_notifier_continues_at_once_after_a_clean_end(
    rig: Rig,
) -> None:
    rig.post(*range(8), queue='dead')
    redrive_id = begin(rig, to='work', rate=4)
    rig.until(lambda: rig.bodies('work'))
    rig.stop()
    left = rig.bodies('dead')
    assert rig.bodies('work') + left == [*range(8)]
    rig.start()
    redrive = ended(rig, redrive_id)
    assert redrive.moved == 8
    assert rig.bodies('work') == [*range(8)]


def test_what_comes_back_is_announced(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    rig = make_rig()
    rig.post('x', queue='dead')
    receiver = make_receiver()
    rig.subscribe(receiver.url, queue='work')
    begin(rig, to='work')
    assert receiver.wait(1)[0].json['body'] == 'x'


def test_the_letter_of_a_delivery_goes_to_what_was_subscribed_to(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    failing = make_receiver(answer(404))
    rig.subscribe(failing.url, _dead_letter_queue='dead')
    rig.post('x', ttl=300)
    rig.rests()
    (letter,) = rig.messages('dead')
    redrive = ended(rig, begin(rig, filter={'reason': 'answered 404'}))
    assert redrive.moved == 1
    rig.rests()
    # It is refused once more, in the same wrapping.
    first, second = rig.messages('q')
    assert second.body == letter.body
    assert (first.ttl, second.ttl) == (300, 300)


def test_no_letter_is_lost_or_doubled_while_notifiers_are_killed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ['--letters', '300', '--rate', '50', '--kills', '3']
    code = redrive_soak.main(words)
    # It fails if a message is lost, doubled or left.
    assert code == 0, capsys.readouterr().out
