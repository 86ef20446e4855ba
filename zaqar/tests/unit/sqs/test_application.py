# SPDX-License-Identifier: Apache-2.0
"""Requests from the first byte to the last, without operations."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Sequence
from typing import Any

from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.result_types import NamedQueue, QueuePage
from zaqar.objects import Kind
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import TURN, Turn
from zaqar.transport.sqs import signature_v4
from zaqar.transport.sqs.application import Application
from zaqar.transport.sqs.caller_by_signature import Trusting
from zaqar.transport.wsgi.waiting_requests_in_threads import WaitingInThreads

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


class _Dispatcher:
    """Answers with pages of queues."""

    limits = Limits(max_queues_per_page=2)

    def __init__(self, *pages: QueuePage) -> None:
        self._pages = list(pages)

    def run(self, *_arguments: Any, **_options: Any) -> QueuePage:
        return self._pages.pop(0)


def _page(*names: str, marker: str | None, is_cut: bool = False) -> QueuePage:
    queues = [NamedQueue(name, None) for name in names]
    return QueuePage(Kind.QUEUE, queues, {}, marker=marker, is_cut=is_cut)


def _listed(
    pages: Sequence[QueuePage], turn: Turn | None = None, **members: Any
) -> Any:
    """Return the answer to a request for queues."""
    dispatcher: Any = _Dispatcher(*pages)
    application = Application(
        dispatcher, WaitingInThreads(0), Trusting(), lambda: NOW
    )
    moment = NOW.strftime(signature_v4.MOMENT)
    scope = f'a-project/{moment[:8]}/r/sqs/aws4_request'
    body = json.dumps(members).encode()
    environ = {
        'REQUEST_METHOD': 'POST',
        'PATH_INFO': '/sqs',
        'CONTENT_LENGTH': str(len(body)),
        'wsgi.input': io.BytesIO(body),
        'wsgi.url_scheme': 'http',
        'HTTP_HOST': 'h',
        'HTTP_X_AMZ_DATE': moment,
        'HTTP_X_AMZ_TARGET': 'AmazonSQS.ListQueues',
        'HTTP_AUTHORIZATION': f'{signature_v4.ALGORITHM} Credential={scope}, '
        f'SignedHeaders=host;x-amz-date;x-amz-target, Signature={"0" * 64}',
        **({} if turn is None else {TURN: turn}),
    }
    statuses: list[str] = []
    answer = application(environ, lambda status, *_: statuses.append(status))
    assert statuses == ['200 OK']
    return json.loads(b''.join(answer))


def test_requests_of_a_project_take_turns_with_those_of_others() -> None:
    turn = Turn(Turns())
    _listed([_page(marker=None)], turn)
    assert turn.project == 'a-project'


def test_pages_are_read_to_the_end_or_to_what_was_wanted() -> None:
    full, last = _page('a', 'b', marker='b'), _page('c', marker='c')
    answer = _listed([full, last])
    assert [url[-1] for url in answer['QueueUrls']] == ['a', 'b', 'c']
    assert 'NextToken' not in answer
    assert 'NextToken' in _listed([full], MaxResults=2)
    assert 'NextToken' not in _listed([full, last], MaxResults=4)


def test_what_reads_a_lot_is_left_to_further_requests() -> None:
    cut = _page(marker='b', is_cut=True)
    for members in ({}, {'MaxResults': 5}, {'QueueNamePrefix': '~'}):
        answer = _listed([cut], **members)
        assert 'QueueUrls' not in answer
        again = {**members, 'NextToken': answer['NextToken']}
        answer = _listed([_page('c', marker='c')], **again)
        assert len(answer['QueueUrls']) == 1
        assert 'NextToken' not in answer
