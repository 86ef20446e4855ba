# SPDX-License-Identifier: Apache-2.0
"""Frames that the event loop answers itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from zaqar import request_deadline
from zaqar.current_request import OF_THREAD
from zaqar.event_loop_greenlets import offload
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets
from zaqar.transport import requests_fit_for_event_loop
from zaqar.transport.websocket import frame_greenlets
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.frame_greenlets import FrameGreenlets


def fits(document: Any, *, is_binary: bool) -> bool:
    coder: Any = msgspec.msgpack if is_binary else msgspec.json
    frame = Frame(coder.encode(document), is_binary)
    return frame_greenlets.fits(frame)


@pytest.mark.parametrize('is_binary', [False, True])
def test_frames_fit_as_their_http_requests_do(is_binary: bool) -> None:
    fit = {'queue_get', 'message_post', 'message_get_many', 'claim_create'}
    unfit = {'queue_create', 'queue_list', 'authenticate', 'message_stream'}
    unfit |= {'subscription_create', 'no such'}
    for action in fit | unfit:
        document = {'action': action, 'headers': {}, 'body': {}}
        assert fits(document, is_binary=is_binary) is (action in fit)


@pytest.mark.parametrize('is_binary', [False, True])
def test_long_frames_many_messages_and_malformed_ones_do_not(
    is_binary: bool,
) -> None:
    def post(*messages: Any) -> bool:
        body = {'queue_name': 'q', 'messages': messages}
        document = {'action': 'message_post', 'headers': {}, 'body': body}
        return fits(document, is_binary=is_binary)

    assert post(*[{'body': 0}] * 60)
    assert not post(*[{'body': 0}] * 64)
    most = requests_fit_for_event_loop.LONGEST_BODY
    assert not post({'body': 'x' * most})
    for unfit in (7, {'headers': {}}, {'action': ['message_post']}):
        assert not fits(unfit, is_binary=is_binary)
    assert not frame_greenlets.fits(Frame(b'\xc1', is_binary))


def test_the_last_action_counts_of_several() -> None:
    text = b'{"action": "message_post", "action": "queue_create"}'
    assert not frame_greenlets.fits(Frame(text))


def test_results_are_given_on_the_loop_and_failures_stay_alone(
    greenlets: Greenlets, caplog: pytest.LogCaptureFixture
) -> None:
    answers = FrameGreenlets(greenlets.hub, 2)
    done: list[tuple[Any, bool]] = []

    def take(result: Any) -> None:
        done.append((result, greenlets.hub.is_running))
        if result == 'b':
            raise RuntimeError

    def work(name: str) -> str:
        assert OF_THREAD.request.greenlet is not None
        assert not request_deadline.is_too_late()
        offload(int)
        return name

    def put() -> None:
        for name in 'abcd':
            answers.submit(lambda name=name: work(name), take, name)

    greenlets.loop.call_soon(put)
    greenlets.run(lambda: None)
    assert not answers.are_idle
    while not answers.are_idle:
        greenlets.run(lambda: None)
    assert sorted(done) == [(name, True) for name in 'abcd']
    assert 'An answer could not be sent' in caplog.text
