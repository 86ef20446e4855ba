# SPDX-License-Identifier: Apache-2.0
"""While Keystone is down nobody new comes in; then all is as before."""

from __future__ import annotations

import pytest

from zaqar.tests.functional.keystone.callers import Caller, join
from zaqar.tests.functional.keystone.conftest import Start
from zaqar.tests.servers.keystone import Keystone


@pytest.fixture
def fresh(keystone: Keystone, start: Start) -> Caller:
    """A member with a token that no service has seen."""
    return join(keystone, start('{}'), keystone.project(), 'member')


def ping(caller: Caller) -> int:
    """Return the status that a caller gets."""
    return caller.ask('GET', '/v2/ping').status_code


def test_a_service_that_asked_before_recovers(
    keystone: Keystone, member: Caller, fresh: Caller
) -> None:
    assert ping(member.at(fresh.origin)) == 204

    with keystone.down():
        assert ping(fresh) == 503

    assert ping(fresh) == 204


def test_a_service_that_never_asked_recovers(
    keystone: Keystone, fresh: Caller
) -> None:
    with keystone.down():
        assert ping(fresh) == 503

    assert ping(fresh) == 204


def test_a_service_starts_while_keystone_is_down(
    keystone: Keystone, start: Start, member: Caller
) -> None:
    with keystone.down():
        caller = member.at(start('{}'))
        assert ping(caller) == 503

    assert ping(caller) == 204


def test_a_token_seen_before_goes_on_counting(
    keystone: Keystone, fresh: Caller, queue: str
) -> None:
    assert ping(fresh) == 204

    with keystone.down():
        assert fresh.post(queue).status_code == 201


def test_what_needs_no_keystone_is_answered_meanwhile(
    keystone: Keystone, fresh: Caller
) -> None:
    nobody = fresh.showing(None)

    with keystone.down():
        assert nobody.ask('GET', '/').status_code == 300
        assert nobody.ask('GET', '/v2/openapi.json').status_code == 200
        assert nobody.ask('OPTIONS', '/v2/queues').status_code == 200
        assert nobody.ask('GET', '/healthcheck').status_code == 200
        assert ping(nobody) == 401
