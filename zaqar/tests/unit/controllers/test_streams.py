# SPDX-License-Identifier: Apache-2.0
"""How streams begin, without a store."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from zaqar.controllers import streams
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.streams import BEGINNING, StreamStart
from zaqar.errors import InvalidParameter, StoreUnavailable
from zaqar.identity import Identity, SignedAccess
from zaqar.objects import Message, MessageSpan, Page, Scope, Stats

SCOPE = Scope('p', 'q')

MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


class Store:
    """A queue whose newest messages are taken before they can be read.

    Also the catalogue, and the clock.
    """

    only = ''

    def __init__(self, *messages: Message, taken: int = 0) -> None:
        self.clock = self
        self.qid = 'qid'
        self.messages = messages
        self.taken = taken
        self.lists: list[Any] = []

    def run(self, scope: Scope, call: Callable[..., Any], missing: Any) -> Any:
        return call(self, self)

    def now(self) -> int:
        return 0

    def stats(self, qid: str, *, now: int) -> Stats:
        newest = (
            MessageSpan(self.messages[-1].id, 0) if self.messages else None
        )
        return Stats(len(self.messages), 0, None, newest)

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        self.taken -= 1
        if self.taken >= 0:
            return ()
        return [one for one in self.messages if one.id in ids]

    def list(self, qid: str, **options: Any) -> Page:
        self.lists.append(options)
        return Page(self.messages)


def message(number: int) -> Message:
    return Message(
        id=f'id {number}',
        ttl=60,
        body=b'1',
        client='c',
        created_at=0,
        marker=f'marker {number}',
    )


def start(
    store: Store,
    marker: str | None = None,
    echo: bool | None = None,
    **identity: Any,
) -> StreamStart:
    caller = Identity('p', identity.pop('client', ''), **identity)
    context = Context(caller, store, Limits())  # type: ignore[arg-type]
    return streams.start(context, scope=SCOPE, marker=marker, echo=echo)


def test_a_stream_begins_where_it_is_told() -> None:
    store = Store(message(1))
    assert start(store).marker == BEGINNING
    assert start(store, 'x').marker == 'x'
    assert start(store, 'now').marker == 'marker 1'
    assert start(Store(), 'now').marker == BEGINNING


@pytest.mark.parametrize('marker', ['a\nid: 1', ' ', 'ä', 'x' * 129, 'a.b'])
def test_what_is_no_marker_is_refused(marker: str) -> None:
    # It would be repeated in the stream.
    with pytest.raises(InvalidParameter):
        start(Store(), marker)


def test_the_newest_message_is_taken_by_others() -> None:
    assert start(Store(message(1), taken=5), 'now').marker == 'marker 1'
    with pytest.raises(StoreUnavailable):
        start(Store(message(1), taken=10**6), 'now')


def test_own_messages_are_left_out_unless_wanted() -> None:
    store = Store()
    assert start(store).exclude == ''
    assert start(store, client='c').exclude == 'c'
    assert start(store, client='c', echo=False).exclude == 'c'
    assert start(store, client='c', echo=True).exclude == ''


def test_a_stream_ends_with_the_credentials() -> None:
    store = Store()
    token = {'expires_at': '2030-01-01T00:00:00.000000Z'}
    later = MOMENT + datetime.timedelta(hours=1)
    assert start(store).ends_at is None
    assert start(store, validated=token).ends_at == MOMENT
    assert start(store, signed=SignedAccess(later)).ends_at == later


def test_pages_have_what_may_appear_later() -> None:
    store = Store(message(1), message(2))
    source = start(store).source
    page = source.read(BEGINNING, 10)
    assert page.messages == store.messages
    assert page.is_end and page.marker == 'marker 2'
    source.read('marker 2', 10)
    assert [one['marker'] for one in store.lists] == [None, 'marker 2']
    assert all(one['include_claimed'] for one in store.lists)
    assert all(one['include_delayed'] for one in store.lists)
