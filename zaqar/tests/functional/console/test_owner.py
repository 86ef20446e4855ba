# SPDX-License-Identifier: Apache-2.0
"""An owner of queues uses the console of a service without Keystone."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from zaqar.tests.functional.console import tour
from zaqar.tests.functional.console.browser import User
from zaqar.tests.functional.console.conftest import PROJECT
from zaqar.tests.functional.console.producer import Producer
from zaqar.tests.servers.receivers import Receiver
from zaqar.tests.servers.zaqar import Zaqar


@pytest.mark.proves('console')
def test_an_owner_does_everything_once(
    owner: User, producer: Producer, receiver: Receiver, server: Zaqar
) -> None:
    tour.prepare(producer, receiver)
    owner.chrome.set_window_size(390, 800)
    owner.opens()
    owner.sees('Project', 'dialog')
    owner.types(PROJECT, Keys.ENTER)
    tour.look_around(owner, producer, receiver)
    tour.lose_the_service(owner, server.stop, server.start)
    assert owner.complaints() == []
