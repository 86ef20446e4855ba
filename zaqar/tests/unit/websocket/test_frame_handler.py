# SPDX-License-Identifier: Apache-2.0
"""Answers to frames, without a network or a store."""

from __future__ import annotations

import types
from typing import Any

import msgspec
import pytest

from zaqar.api import operation_table
from zaqar.transport import large_page_fairness
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.frame_handler import FrameHandler


class Session:
    """A session all of whose frames ask for a page of a project."""

    caller = 'p'

    def next_request(self) -> str:
        return 'req-1'

    def parse(self, *_: Any) -> Any:
        row = operation_table.BY_ACTION['message_list']
        return types.SimpleNamespace(row=row, headers=None)

    def call(self, _parsed: Any, row: Any, _encoding: Any) -> Any:
        identity = types.SimpleNamespace(project='p')
        return types.SimpleNamespace(
            row=row,
            identity=identity,
            request=None,
            is_signed=False,
            waits=False,
        )


def test_a_frame_is_refused_where_too_many_requests_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_page_fairness, 'MOST_WAITING', 0)
    nothing: Any = None
    handler = FrameHandler(nothing, nothing)
    handler.turns.record('p', large_page_fairness.LARGE)
    session: Any = Session()
    answer = handler.answer(session, Frame(b''))
    assert answer.frame is None
    document = msgspec.json.decode(answer.data)
    assert document['headers']['status'] == 503
    assert 'Too many requests' in document['body']['error']
