# SPDX-License-Identifier: Apache-2.0
"""From frames to operations: reference/websocket, "Actions"."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from zaqar.api import (
    microversion_negotiation,
    operation_table,
    websocket_frame_arguments,
)
from zaqar.api.operation import Operation
from zaqar.errors import InvalidRequest, NoRoute
from zaqar.transport.websocket.frame_codecs import codec

EACH = pytest.mark.parametrize(
    'operation',
    operation_table.OPERATIONS,
    ids=lambda operation: operation.name,
)
ENCODINGS = pytest.mark.parametrize('is_binary', [False, True])

FITTING = {'int': 7, 'bool': True, 'text': 'x', 'ids': ['x', 'y']}
#: All values that paths may have.
NAMES = (
    'queue_name',
    'topic_name',
    'message_id',
    'claim_id',
    'subscription_id',
    'attempt_id',
    'redrive_id',
    'stream_id',
    'pool_name',
    'flavor_name',
    'project_id',
)

MISFITS = {
    'int': ['7', True, 1.5, None, [], {}],
    'bool': [1, 'true', None],
    'text': [1, None, ['x']],
    'ids': ['x', [1], None, {}],
}


def _members(is_binary: bool, body: Any) -> Any:
    encoding = codec(is_binary)
    return encoding.members(encoding.encode(body)), encoding


@EACH
@ENCODINGS
def test_each_value_of_a_path_is_needed(
    operation: Operation, is_binary: bool
) -> None:
    names = {
        name
        for name in ('queue_name', 'topic_name', 'message_id', 'claim_id')
        if f'{{{name}}}' in operation.target and not operation.member
    }
    whole = dict.fromkeys(NAMES, 'x')
    values = websocket_frame_arguments.path(
        operation, *_members(is_binary, whole)
    )
    assert names <= set(values)
    assert operation.member or operation.target.format(**values)
    for name in values:
        for value in (None, 1, ['x'], {}):
            with pytest.raises(InvalidRequest):
                websocket_frame_arguments.path(
                    operation, *_members(is_binary, {**whole, name: value})
                )
        del whole[name]
        with pytest.raises(InvalidRequest):
            websocket_frame_arguments.path(
                operation, *_members(is_binary, whole)
            )
        whole[name] = 'x'


@EACH
@ENCODINGS
def test_each_parameter_has_its_type(
    operation: Operation, is_binary: bool
) -> None:
    for param in operation.query:
        name = param.member or param.name
        body = {name: FITTING[param.kind], 'unknown': 1}
        values = websocket_frame_arguments.query(
            operation, *_members(is_binary, body), microversion_negotiation.MAX
        )
        assert list(values) == [param.name]
        for value in MISFITS[param.kind]:
            with pytest.raises(InvalidRequest):
                websocket_frame_arguments.query(
                    operation,
                    *_members(is_binary, {name: value}),
                    microversion_negotiation.MAX,
                )


@EACH
def test_names_in_a_body_mean_one_thing(operation: Operation) -> None:
    if operation.body is None:
        return
    if operation.body.member:
        names = {operation.body.member}
    else:
        names = set(operation.body.schema['properties'])
    query = {param.member or param.name for param in operation.query}
    path = {'queue_name', 'topic_name', 'claim_id', 'subscription_id'}
    assert not names & (query | path | {'pool_name', 'flavor_name'})


@ENCODINGS
def test_members_form_the_document(is_binary: bool) -> None:
    row = operation_table.BY_ACTION['claim_create']
    body = {'queue_name': 'q', 'limit': 3, 'grace': 60, 'ttl': 60, 'x': 1}
    document = websocket_frame_arguments.document(
        row, *_members(is_binary, body)
    )
    assert document is not None
    assert msgspec.json.decode(document.text) == {'grace': 60, 'ttl': 60}


@ENCODINGS
def test_a_document_that_may_be_absent_is(is_binary: bool) -> None:
    members = _members(is_binary, {'queue_name': 'q', 'x': 1})
    for name in ('claim_create', 'queue_create', 'queue_purge', 'queue_get'):
        assert (
            websocket_frame_arguments.document(
                operation_table.BY_ACTION[name], *members
            )
            is None
        )
    needed = websocket_frame_arguments.document(
        operation_table.BY_ACTION['message_post'], *members
    )
    assert needed is not None
    assert needed.text == b'{}'


@ENCODINGS
@pytest.mark.parametrize(
    ('action', 'member', 'value'),
    [
        ('queue_create', 'metadata', {'a': 1}),
        ('topic_create', 'metadata', {'a': 1}),
        ('queue_update', 'changes', [{'op': 'add'}]),
        ('topic_update', 'changes', [{'op': 'add'}]),
    ],
)
def test_some_documents_are_one_member(
    is_binary: bool, action: str, member: str, value: Any
) -> None:
    row = operation_table.BY_ACTION[action]
    body = {'queue_name': 'q', member: value, 'a': 2}
    document = websocket_frame_arguments.document(
        row, *_members(is_binary, body)
    )
    assert document is not None
    assert msgspec.json.decode(document.text) == value


@pytest.mark.parametrize('action', [None, '', 'x', 1, True, [], {}, ['x']])
def test_an_action_that_is_none_is_refused(action: Any) -> None:
    with pytest.raises(InvalidRequest):
        websocket_frame_arguments.operation(
            action, microversion_negotiation.MAX
        )


def test_the_name_that_clients_know_is_understood() -> None:
    assert (
        websocket_frame_arguments.operation(
            'check_node_health', microversion_negotiation.MIN
        ).name
        == 'health'
    )


@pytest.mark.parametrize('headers', [None, [], 'x', {'client-ID': 1}])
def test_headers_are_texts_by_name(headers: Any) -> None:
    with pytest.raises(InvalidRequest):
        websocket_frame_arguments.headers(headers)


def test_headers_are_known_in_any_case_and_others_kept() -> None:
    headers = websocket_frame_arguments.headers(
        {'CLIENT-id': 'x', 'Mine': [1]}
    )
    assert headers == {'client-id': 'x', 'mine': [1]}


@pytest.mark.parametrize(
    ('action', 'folder'),
    [
        ('message_post', '/v2/queues/q/messages'),
        ('message_get', '/v2/queues/q/messages'),
        ('message_get_many', '/v2/queues/q/messages'),
        ('claim_update', '/v2/queues/q/claims'),
        ('subscription_confirm', '/v2/queues/q/subscriptions'),
        ('queue_get_stats', '/v2/queues/q/stats'),
    ],
)
def test_a_frame_is_about_a_part_of_a_queue(action: str, folder: str) -> None:
    values = {'queue_name': 'q', 'message_id': '../../other/messages'}
    row = operation_table.BY_ACTION[action]
    assert websocket_frame_arguments.collection(row, values) == folder


@pytest.mark.parametrize(
    'action', ['queue_list', 'queue_get', 'topic_message_post', 'pool_list']
)
def test_others_are_about_none(action: str) -> None:
    values = {'queue_name': 'q', 'topic_name': 'q'}
    with pytest.raises(NoRoute):
        websocket_frame_arguments.collection(
            operation_table.BY_ACTION[action], values
        )
