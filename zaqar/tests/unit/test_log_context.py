# SPDX-License-Identifier: Apache-2.0
"""What log entries show of a request."""

from __future__ import annotations

import uuid

import pytest
from oslo_context import context

from zaqar.transport import log_context

GLOBAL = f'req-{uuid.UUID(int=1)}'


def test_entries_show_the_request_of_their_thread() -> None:
    first = log_context.begin(GLOBAL)
    log_context.name_project('p')
    shown = context.get_current().get_logging_values()
    assert shown['request_id'] == first
    assert shown['global_request_id'] == GLOBAL
    assert shown['project_id'] == 'p'

    second = log_context.begin('')
    assert second != first
    shown = context.get_current().get_logging_values()
    assert shown['request_id'] == second
    assert shown['global_request_id'] is None
    assert shown['project_id'] is None


def test_what_replaced_the_context_meanwhile_is_replaced() -> None:
    log_context.begin('')
    context.RequestContext(request_id='req-other')
    mine = log_context.begin('')
    assert context.get_current().request_id == mine


@pytest.mark.parametrize('text', ['', 'req-1', GLOBAL + '0', 'req-\n' * 9])
def test_only_ids_are_shown_as_ids(text: str) -> None:
    log_context.begin(text)
    assert context.get_current().global_request_id is None


def test_projects_are_shown_without_control_characters() -> None:
    log_context.begin('')
    log_context.name_project('a\nb\x7f')
    assert context.get_current().project_id == 'a\\nb\\x7f'
    log_context.name_project('é'.encode().decode('latin-1'))
    assert context.get_current().project_id == 'é'


def test_ids_of_requests_are_random_uuids() -> None:
    ids = {log_context.begin('') for _ in range(1000)}
    assert len(ids) == 1000
    for text in ids:
        number = uuid.UUID(text.removeprefix('req-'))
        assert number.version == 4
        assert str(number) == text.removeprefix('req-')
