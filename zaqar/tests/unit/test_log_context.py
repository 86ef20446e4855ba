# SPDX-License-Identifier: Apache-2.0
"""What log entries show of a request."""

from __future__ import annotations

import uuid

import pytest
from oslo_context import context

from zaqar.transport.wsgi import log_context

GLOBAL = f'req-{uuid.UUID(int=1)}'


def test_entries_show_the_request_of_their_thread() -> None:
    log_context.begin('req-1', GLOBAL)
    log_context.name_project('p')
    shown = context.get_current().get_logging_values()
    assert shown['request_id'] == 'req-1'
    assert shown['global_request_id'] == GLOBAL
    assert shown['project_id'] == 'p'

    log_context.begin('req-2', '')
    shown = context.get_current().get_logging_values()
    assert shown['request_id'] == 'req-2'
    assert shown['global_request_id'] is None
    assert shown['project_id'] is None


def test_what_replaced_the_context_meanwhile_is_replaced() -> None:
    log_context.begin('req-1', '')
    context.RequestContext(request_id='req-other')
    log_context.begin('req-2', '')
    assert context.get_current().request_id == 'req-2'


@pytest.mark.parametrize('text', ['', 'req-1', GLOBAL + '0', 'req-\n' * 9])
def test_only_ids_are_shown_as_ids(text: str) -> None:
    log_context.begin('req-1', text)
    assert context.get_current().global_request_id is None


def test_projects_are_shown_without_control_characters() -> None:
    log_context.begin('req-1', '')
    log_context.name_project('a\nb\x7f')
    assert context.get_current().project_id == 'a\\nb\\x7f'
    log_context.name_project('é'.encode().decode('latin-1'))
    assert context.get_current().project_id == 'é'
