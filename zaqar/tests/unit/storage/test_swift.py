# SPDX-License-Identifier: Apache-2.0
"""What Swift is told, and what stands in rows: without a Swift."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zaqar import request_deadline
from zaqar.errors import ConfigurationError, StoreUnavailable
from zaqar.objects import NewMessage
from zaqar.storage import store_call_interceptor
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.storage.swift import body_references

factory = pytest.importorskip('zaqar.storage.swift.store_factory')
large_body_store = pytest.importorskip('zaqar.storage.swift.large_body_store')


def new(body: bytes, rnd: str = '0' * 16) -> NewMessage:
    return NewMessage(body=body, ttl=60, rnd=rnd, client='')


@given(st.binary())
def test_a_body_in_a_row_is_read_as_it_was(body: bytes) -> None:
    assert body_references.unpack(body_references.inline(body)) == body


@given(st.binary(), st.integers(0, 2**62))
def test_a_reference_in_a_row_is_read_as_one(body: bytes, now: int) -> None:
    reference = body_references.reference(new(body), 0, 'token', now)
    assert body_references.unpack(reference.pack()) == reference


def test_names_differ_by_all_that_tells_messages_apart() -> None:
    names = {
        body_references.reference(*arguments, 0).name
        for arguments in (
            (new(b'a'), 0, 't'),
            (new(b'b'), 0, 't'),
            (new(b'a'), 1, 't'),
            (new(b'a'), 0, 'u'),
            (new(b'a', '1' * 16), 0, 't'),
        )
    }
    assert len(names) == 5


def test_a_name_does_not_depend_on_the_moment() -> None:
    first, second = (
        body_references.reference(new(b'a'), 0, 't', now).name
        for now in (1, 2)
    )
    assert first == second


def test_an_object_lives_long_enough_until_an_hour_before_its_end() -> None:
    reference = body_references.Reference('name', 10_000_000)
    assert not reference.is_short(10_000_000 - 3_600_000)
    assert reference.is_short(10_000_000 - 3_600_000 + 1)


@pytest.mark.parametrize(
    ('uri', 'parts'),
    [
        ('swift://user:secret@/project', ('user', 'secret', 'project')),
        ('swift://a%40b:p%2F%3A%25@/my%20own', ('a@b', 'p/:%', 'my own')),
    ],
)
def test_a_uri_names_user_password_and_project(
    uri: str, parts: tuple[str, str, str]
) -> None:
    assert factory.parse(uri) == parts


@pytest.mark.parametrize(
    'uri',
    [
        '',
        'swift:',
        'swift://',
        'swift://user@/project',
        'swift://user:@/project',
        'swift://:secret@/project',
        'swift://user:secret@/',
        'swift://user:secret@/a/b',
        'swift://user:secret@host/project',
        'swift://user:secret@/project?auth_url=x',
        'swift://[user:secret@/project',
        'redis://user:secret@/project',
    ],
)
def test_any_other_uri_is_refused_without_showing_the_password(
    uri: str,
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        factory.parse(uri)
    assert 'secret' not in str(caught.value)


class FrozenClient:
    """A Swift that uses up the time of every request that reads."""

    has_failed = False

    def put(self, objects: Mapping[str, Any]) -> None:
        pass

    def get(self, paths: Sequence[str]) -> NoReturn:
        request_deadline.begin(-1.0)
        raise StoreUnavailable

    def delete_later(self, paths: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass


def in_time(name: str, method: Any, *arguments: Any, **more: Any) -> Any:
    """Attempt nothing once the deadline has passed."""
    if not request_deadline.left(60.0):
        raise StoreUnavailable
    return method(*arguments, **more)


def test_messages_are_free_though_swift_has_used_up_the_time(
    tmp_path: pathlib.Path,
) -> None:
    rows = DRIVER.open_messages(f'sqlite:///{tmp_path}/rows.sqlite', {})
    store = large_body_store.LargeBodyStore(
        store_call_interceptor.through(rows, in_time), FrozenClient(), inline=0
    )
    now = store.clock.now()
    store.post('q', [new(b'a')], now=now, token='t')
    with (
        request_deadline.within(request_deadline.REQUEST),
        pytest.raises(StoreUnavailable),
    ):
        store.claim(
            'q', now=now, claim_id='0' * 32, ttl=3600, grace=0, limit=1
        )
    stats = store.stats('q', now=now)
    assert (stats.free, stats.claimed) == (1, 0)
    store.close()
