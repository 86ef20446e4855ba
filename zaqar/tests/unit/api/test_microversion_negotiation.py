# SPDX-License-Identifier: Apache-2.0
"""Negotiation of versions: reference/http, "Microversions"."""

from __future__ import annotations

import contextlib
import dataclasses
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaqar.api import home_document, microversion_negotiation, query_parsing
from zaqar.api.dispatch import Dispatcher
from zaqar.api.microversion_negotiation import MAX, MIN
from zaqar.api.operation import Param
from zaqar.api.operation_table import BY_ACTION
from zaqar.errors import InvalidRequest, NoRoute, NotAcceptable
from zaqar.identity import Identity
from zaqar.microversion_constants import V2_0, V2_1, Version

WAIT = Param('wait', 'int', '', since=V2_1)


@pytest.mark.parametrize(
    ('header', 'version'),
    [
        ('messaging 2.0', V2_0),
        ('messaging 2.1', V2_1),
        ('messaging latest', MAX),
        ('Messaging Latest', MAX),
        ('message 2.1', V2_1),
        ('  messaging\t2.1 ', V2_1),
        ('compute 2.90, messaging 2.1', V2_1),
        ('messaging 2.1,compute 2.90', V2_1),
        ('messaging 2.1, messaging 2.0', V2_0),
        ('compute latest', None),
        ('compute', None),
        ('messaging-v3 2.1', None),
        ('nonsense 1 2 3 4,,', None),
        ('', None),
    ],
)
def test_only_our_entry_counts(header: str, version: Version | None) -> None:
    assert microversion_negotiation.requested(header) == version


@pytest.mark.parametrize(
    'value', ['1.0', '1.1', '2.2', '2.10', '3.0', '0.0', '2.999999999']
)
def test_an_unsupported_version_is_refused_with_the_bounds(value: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        microversion_negotiation.requested(f'messaging {value}')
    text = str(caught.value)
    assert value in text
    assert f'minimum is {MIN}' in text
    assert f'maximum is {MAX}' in text


@pytest.mark.parametrize(
    'value',
    [
        *('', '2', '2.', '.1', '2.1.0', 'v2.1', '2.1 2.1', '2.1 x', 'two'),
        *('2.01', '02.1', '-2.1', '2.1e0', '2.\u0661', 'latest 2.1', '2,1'),
        f'2.{"1" * 5000}',
    ],
)
def test_a_malformed_version_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match='OpenStack-API-Version'):
        microversion_negotiation.requested(f'messaging {value}')


@given(st.text('mesaging latest,2.10\t\xa0'))
def test_any_header_is_read_or_refused(text: str) -> None:
    for header in (text, f'messaging {text}'):
        with contextlib.suppress(InvalidRequest, NotAcceptable):
            version = microversion_negotiation.requested(header)
            assert version is None or version in microversion_negotiation.ALL


def test_what_callers_send_is_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(64):
            microversion_negotiation.requested(
                f'service-{number} {"x" * 100_000}'
            )
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000


def test_versions_are_in_order() -> None:
    assert list(microversion_negotiation.ALL) == sorted(
        set(microversion_negotiation.ALL)
    )
    assert Version(2, 9) < Version(2, 10)


def test_below_its_version_a_parameter_is_an_unknown_one() -> None:
    values = {'wait': ['x']}
    assert query_parsing.parse([WAIT], values, V2_0) == {'wait': None}
    assert query_parsing.unknown([WAIT], values, V2_0) == values
    with pytest.raises(InvalidRequest, match='wait'):
        query_parsing.parse([WAIT], values, V2_1)
    assert query_parsing.unknown([WAIT], values, V2_1) == {}


def test_below_its_version_an_operation_does_not_exist() -> None:
    context: Any = SimpleNamespace(
        limits=None,
        signer=None,
        features=frozenset(),
        quotas=None,
        throttle=None,
        called_by=lambda identity, *_: SimpleNamespace(identity=identity),
    )
    authorizer: Any = SimpleNamespace(check=lambda *_: None)
    dispatcher = Dispatcher(authorizer, context)
    operation = dataclasses.replace(
        BY_ACTION['ping_node'], since=V2_1, handler=lambda _: 'done'
    )

    def run(**version: Version) -> Any:
        return dispatcher.run(
            operation,
            Identity('project', 'client'),
            scope=None,
            path={},
            values={},
            read_body=lambda *_: None,
            **version,
        )

    for version in ({}, {'version': V2_0}):
        with pytest.raises(NoRoute):
            run(**version)
    assert run(version=V2_1) == 'done'


def test_the_home_document_lists_what_every_version_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = home_document.document.__wrapped__()
    row = BY_ACTION['ping_node']
    rows = (
        *home_document.operation_table.OPERATIONS,
        dataclasses.replace(row, name='new', rel='rel/new', since=V2_1),
    )
    monkeypatch.setattr(home_document.operation_table, 'OPERATIONS', rows)
    assert home_document.document.__wrapped__() == before
