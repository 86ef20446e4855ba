# SPDX-License-Identifier: Apache-2.0
"""Opening and closing stores."""

from __future__ import annotations

import pathlib

import pytest

from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.driver_declaration import Capability
from zaqar.tests.contract.conftest import settles
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.harnesses import Feature, Harness
from zaqar.tests.contract.probe import Hand, Probe, bodies
from zaqar.tests.servers import process


def test_a_store_answers(messages: MessageStore) -> None:
    messages.ping()


def test_a_driver_names_its_schemes_and_capabilities(
    harness: Harness, uri: str
) -> None:
    scheme = uri.split(':')[0].split('+')[0]
    assert scheme in harness.driver.schemes
    assert set(harness.driver.capabilities) <= set(Capability)


def test_a_store_says_whether_it_has_groups(
    harness: Harness, messages: MessageStore
) -> None:
    assert messages.has_groups == (Feature.GROUPS in harness.features)


def test_a_driver_that_needs_no_server_names_a_place_in_our_folder(
    harness: Harness, tmp_path: pathlib.Path, hand: Hand
) -> None:
    place = harness.driver.default_uri
    if place is None:
        pytest.skip(f'{harness.name} needs a server')
    messages = harness.open_messages(place(str(tmp_path)))
    management = harness.open_management(place(str(tmp_path)))
    queue = Probe(messages, hand)
    queue.post('a')
    assert queue.everything() == ['a']
    assert management.create('queue', 'p', 'a', {})
    messages.close()
    management.close()
    assert any(tmp_path.iterdir())


def test_what_is_wrong_with_a_setting_is_told_in_one_line(
    harness: Harness,
) -> None:
    for fault, uri in harness.faulty().items():
        for opening in (harness.open_messages, harness.open_management):
            with pytest.raises(ConfigurationError) as caught:
                opening(uri)
            text = str(caught.value)
            assert text and '\n' not in text, fault


@pytest.mark.needs(Feature.ENDPOINT)
def test_an_unreachable_server_is_no_error_until_it_is_used(
    harness: Harness, uri: str
) -> None:
    nowhere = harness.via(uri, process.free_port())
    messages = harness.open_messages(nowhere)
    with pytest.raises(StoreUnavailable):
        messages.ping()
    messages.close()
    management = harness.open_management(nowhere)
    with pytest.raises(StoreUnavailable):
        management.ping()
    management.close()


def test_both_planes_may_be_opened_on_one_new_place_at_once(
    harness: Harness,
) -> None:
    uri = harness.database()
    opened = each(
        lambda opening: opening(uri),
        [harness.open_messages, harness.open_management] * 4,
    )
    for store in opened:
        store.ping()
        store.close()


def test_a_store_is_shared_by_threads(
    store: MessageStore, queue: Probe
) -> None:
    each(lambda number: queue.post(number), range(30))
    assert sorted(queue.everything()) == list(range(30))
    each(lambda _: queue.list(), range(30))


def test_a_closed_store_has_given_back_all_connections(
    harness: Harness,
) -> None:
    uri = harness.database()
    messages = harness.open_messages(uri)
    management = harness.open_management(uri)
    queue = Probe(messages, Hand())
    each(lambda number: queue.post(number), range(8))
    each(lambda number: management.count('queue', 'p'), range(8))
    messages.close()
    management.close()
    assert settles(lambda: harness.connections(uri), 0) == 0


def test_what_was_stored_is_there_when_opened_again(
    harness: Harness, hand: Hand
) -> None:
    uri = harness.database()
    store = harness.open_messages(uri)
    queue = Probe(store, hand)
    queue.post('a', 'b')
    claim = queue.take(1)
    store.close()
    again = harness.open_messages(uri)
    queue = Probe(again, hand, queue.qid)
    assert queue.claimed(claim.id) == claim
    assert bodies(queue.walk()) == ['b']
    again.close()
