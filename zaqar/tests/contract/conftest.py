# SPDX-License-Identifier: Apache-2.0
"""Fixtures over the harnesses: stores, queues, controllers, a moved clock."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from zaqar import store_clock
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.caller_and_services import Context
from zaqar.identity import Identity
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract import (  # noqa: F401
    harnesses,
    mongodb_harness,
    record,
    swift_harness,
)
from zaqar.tests.contract.harnesses import Feature, Harness
from zaqar.tests.contract.probe import ALICE, Hand, Probe, token
from zaqar.tests.contract.proxy import Proxy

#: Seconds for which a server may count what we have just given back.
SETTLING = 60.0

#: A count that no server is too slow for.
ENOUGH = 60

#: The same for calls of eight at once.
FEW = 8


def pytest_configure(config: pytest.Config) -> None:
    """Declare our marker, and record what is run if that is wanted."""
    config.addinivalue_line(
        'markers', 'needs(feature): run only where a harness declares it'
    )
    config.addinivalue_line(
        'markers',
        'one_store: what is decided above the stores, and the same over all',
    )
    path = os.environ.get('ZAQAR_TEST_RECORD')
    if path and not config.pluginmanager.has_plugin('record'):
        plugin = record.Record(pathlib.Path(path))
        config.pluginmanager.register(plugin, 'record')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what takes too long, unless ``ZAQAR_TEST_WHOLE`` is set.

    What is decided above the stores runs over the first one alone. A test
    server that is no measure of the real one would take most of an hour for
    what others do in a minute: the first test of a module says so for all of
    them.
    """
    if harnesses.is_whole():
        return
    first = harnesses.chosen()[0]
    selected: list[pytest.Item] = []
    left_out: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        call = getattr(item, 'callspec', None)
        kind = call.params.get('harness') if call else None
        if kind not in (None, first) and item.get_closest_marker('one_store'):
            continue
        module = item.path.stem
        if (
            not (isinstance(kind, type) and issubclass(kind, Harness))
            or kind.core is None
            or module in kind.core
        ):
            selected.append(item)
            continue
        tests = left_out.setdefault((kind.name, module), [])
        if not tests:
            selected.append(item)
        tests.append(item)
    for (name, module), tests in left_out.items():
        reason = f'{name} runs {module} ({len(tests)} tests) only with --whole'
        tests[0].add_marker(pytest.mark.skip(reason=reason))
    items[:] = selected


@pytest.fixture(scope='session')
def started() -> Iterator[dict[type[Harness], Harness]]:
    """Harnesses whose servers run.

    They run to the end: pytest leaves a harness after each module where
    modules are shared out among processes, and starting all takes 20 s.
    """
    running: dict[type[Harness], Harness] = {}
    yield running
    for one in running.values():
        one.stop()


@pytest.fixture(
    scope='session', params=harnesses.chosen(), ids=lambda kind: kind.name
)
def harness(
    request: pytest.FixtureRequest, started: dict[type[Harness], Harness]
) -> Harness:
    """A driver with a server under it."""
    kind: type[Harness] = request.param
    if kind not in started:
        one = kind()
        one.start()
        started[kind] = one
        servers = request.config.stash.setdefault(record.SERVERS, {})
        servers[kind.name] = one.server()
    return started[kind]


@pytest.fixture(autouse=True)
def declared(request: pytest.FixtureRequest, harness: Harness) -> None:
    """Skip a test of a feature that the harness does not declare."""
    for mark in request.node.iter_markers('needs'):
        feature: Feature = mark.args[0]
        if feature not in harness.features:
            pytest.skip(f'{harness.name} does not declare: {feature}')


@pytest.fixture(scope='session')
def uri(harness: Harness) -> str:
    """A place that all tests share, each with queues of its own."""
    return harness.database()


@pytest.fixture(scope='session')
def messages(harness: Harness, uri: str) -> Iterator[MessageStore]:
    """The message store of the shared place, for the whole run."""
    store = harness.open_messages(uri)
    yield store
    store.close()


@pytest.fixture(scope='session')
def management(harness: Harness, uri: str) -> Iterator[ManagementStore]:
    """The management store of the shared place."""
    store = harness.open_management(uri)
    yield store
    store.close()


@pytest.fixture(scope='module', autouse=True)
def forgotten(harness: Harness, uri: str) -> Iterator[None]:
    """Leave nothing that slows down the next module."""
    yield
    harness.forget(uri)


@pytest.fixture(autouse=True)
def given_back(harness: Harness, uri: str) -> Iterator[None]:
    """Check that a test leaves no connection borrowed, nothing open."""
    # What one test has lost is not held against the next.
    borrowed, open_before = harness.borrowed(), harness.transactions(uri)
    yield
    assert settles(harness.borrowed, borrowed) <= borrowed
    left = settles(lambda: harness.transactions(uri), open_before)
    assert left <= open_before, 'transactions are open'


@pytest.fixture(autouse=True)
def accepted(harness: Harness) -> Iterator[None]:
    """Check that a test has sent nothing that stricter servers refuse."""
    before = len(harness.refused())
    yield
    assert list(harness.refused()[before:]) == []


@pytest.fixture(autouse=True)
def unhurried(
    request: pytest.FixtureRequest,
    harness: Harness,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Give a slow server time, except where it is cut off."""
    if 'proxy' not in request.fixturenames:
        harness.give_time(monkeypatch)


@pytest.fixture(scope='session')
def many(harness: Harness) -> Callable[[int], int]:
    """Return how many of something suffice where the server is slow."""
    return lambda count: min(count, max(ENOUGH, count // harness.slowness))


@pytest.fixture(scope='session')
def few(harness: Harness) -> Callable[[int], int]:
    """The same for calls that wait for one another, which cost the most."""
    return lambda count: max(FEW, count // harness.slowness)


@pytest.fixture
def hand() -> Hand:
    """A clock at the true time, moved by the test alone."""
    return Hand()


@pytest.fixture
def store(
    messages: MessageStore, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> MessageStore:
    """The message store; those who ask its clock see the hand."""
    monkeypatch.setattr(messages, 'clock', store_clock.Clock(wall=hand.read))
    return messages


@pytest.fixture
def queue(store: MessageStore, hand: Hand) -> Probe:
    """A new queue."""
    return Probe(store, hand)


@pytest.fixture
def another(store: MessageStore, hand: Hand) -> Probe:
    """A second new queue."""
    return Probe(store, hand)


@pytest.fixture(scope='session')
def four(
    harness: Harness, uri: str, messages: MessageStore
) -> Iterator[Sequence[MessageStore]]:
    """Stores of four processes on the shared place."""
    others = [harness.open_messages(uri) for _ in range(3)]
    yield [messages, *others]
    for store in others:
        store.close()


@pytest.fixture
def beside(four: Sequence[MessageStore]) -> MessageStore:
    """The store as another process has it."""
    return four[1]


@pytest.fixture(params=['one process', 'four processes'])
def eight(
    request: pytest.FixtureRequest,
    four: Sequence[MessageStore],
    queue: Probe,
) -> list[Probe]:
    """The queue as eight workers see it."""
    spread = 1 if request.param == 'one process' else 4
    return [
        Probe(four[number % spread], queue.hand, queue.qid)
        for number in range(8)
    ]


@pytest.fixture
def catalogue(management: ManagementStore, store: MessageStore) -> Catalogue:
    """Queues by name."""
    return Catalogue(management, store)


@pytest.fixture
def ctx(catalogue: Catalogue) -> Context:
    """A caller of the controllers, in a project of its own."""
    return Context(Identity(token(), ALICE), catalogue, Limits())


@pytest.fixture
def proxy(harness: Harness, uri: str) -> Iterator[Proxy]:
    """A way to the server that can be cut."""
    with Proxy(harness.endpoint(uri)) as opened_proxy:
        yield opened_proxy


@pytest.fixture
def distant(
    harness: Harness, uri: str, proxy: Proxy
) -> Iterator[MessageStore]:
    """A message store behind the proxy."""
    store = harness.open_messages(harness.via(uri, proxy.port))
    yield store
    store.close()


@pytest.fixture
def distant_records(
    harness: Harness, uri: str, proxy: Proxy
) -> Iterator[ManagementStore]:
    """A management store behind the proxy."""
    store = harness.open_management(harness.via(uri, proxy.port))
    yield store
    store.close()


def settles(count: Callable[[], int], most: int) -> int:
    """Return a count, which may take a moment to become as low as that."""
    end = time.monotonic() + SETTLING
    while (current := count()) > most and time.monotonic() < end:
        time.sleep(0.02)
    return current
