# SPDX-License-Identifier: Apache-2.0
"""What is checked of the commands of the MongoDB drivers."""

from __future__ import annotations

import csv
import datetime
import pathlib
from typing import Any

import pytest
from pymongo import monitoring

from zaqar.tests.contract.mongodb_commands import (
    OURS,
    TABLE,
    Recorder,
    Reference,
)

SESSION = {'id': b'1'}
INSIDE: dict[str, Any] = {
    'lsid': SESSION,
    'txnNumber': 1,
    'autocommit': False,
}
FIRST: dict[str, Any] = {
    **INSIDE,
    'startTransaction': True,
    'readConcern': {'level': 'snapshot'},
}
MAJORITY = {'w': 'majority', 'j': True}
RETRIED: dict[str, Any] = {'lsid': SESSION, 'txnNumber': 1}

#: Commands as MongoDB takes them.
GOOD: list[dict[str, Any]] = [
    {'find': 'message', 'filter': {'a': {'$gt': 1}}, 'sort': {'k': 1}},
    {'find': 'message', 'filter': {'_id': {'$not': {'$regex': '^a'}}}},
    {'find': 'message', 'readConcern': {'level': 'majority'}},
    {'find': 'message', **FIRST},
    {'insert': 'message', 'documents': [{'a': {'b': 1}}], **INSIDE},
    {'insert': 'message', 'documents': [{'a': 1}], 'writeConcern': MAJORITY},
    {
        'update': 'm',
        'updates': [{'q': {}, 'u': {'$set': {'a': 1}}}],
        **RETRIED,
    },
    {'update': 'm', 'updates': [{'q': {}, 'u': [{'$set': {'a': '$b'}}]}]},
    {'delete': 'm', 'deletes': [{'q': {'a': 1}, 'limit': 1}], **RETRIED},
    {'findAndModify': 'm', 'query': {'_id': 1}, 'remove': True, **RETRIED},
    {'getMore': 7, 'collection': 'message', **INSIDE},
    {'aggregate': 'm', 'pipeline': [{'$match': {'a': 1}}], 'cursor': {}},
    {
        'aggregate': 'm',
        'pipeline': [
            {'$sort': {'a': 1}},
            {
                '$unionWith': {
                    'coll': 'm',
                    'pipeline': [{'$match': {'a': {'$gt': 1}}}, {'$limit': 1}],
                }
            },
        ],
        'cursor': {},
    },
    {'commitTransaction': 1, 'writeConcern': MAJORITY, **INSIDE},
]

#: Commands that some server refuses, and what is said of them.
BAD: list[tuple[dict[str, Any], str]] = [
    ({'mapReduce': 'm'}, 'command mapReduce is not in the table'),
    ({'find': 'm', 'oplogReplay': 1}, 'option find.oplogReplay is not'),
    ({'find': 'm', 'filter': {'$where': ''}}, 'query $where is not'),
    (
        {'find': 'm', 'filter': {'$or': [{'a': {'$gt': 1}}]}},
        'query $or is not',
    ),
    ({'find': 'm', 'filter': {'a': {'$not': {'$mod': 1}}}}, 'query $mod'),
    ({'find': 'm', 'projection': {'a': {'$slice': 1}}}, 'find.projection'),
    ({'find': 'm', 'sort': {'a': {'$meta': 'x'}}}, 'find.sort with a'),
    ({'find': 'm', 'limit': -1}, 'find.limit is negative'),
    ({'find': 'm', 'readConcern': {'level': 'local'}}, 'level=local is not'),
    (
        {'find': 'm', 'readConcern': {'level': 'snapshot'}},
        'snapshot outside',
    ),
    ({'find': 'm', 'writeConcern': MAJORITY}, 'find with a writeConcern'),
    ({'getMore': 1, 'maxTimeMS': 1}, 'getMore with maxTimeMS'),
    (
        {'aggregate': 'm', 'pipeline': [{'$densify': {}}]},
        'stage $densify is not',
    ),
    (
        {'aggregate': 'm', 'pipeline': [{'$match': {'a': {'$near': 1}}}]},
        'query $near is not',
    ),
    (
        {
            'aggregate': 'm',
            'pipeline': [{'$unionWith': {'pipeline': [{'$densify': {}}]}}],
        },
        'stage $densify is not',
    ),
    (
        {'aggregate': 'm', 'pipeline': [{'$sort': {'a': {'$meta': 'x'}}}]},
        '$sort with a',
    ),
    (
        {'aggregate': 'm', 'pipeline': [{'$group': {'n': {'$topN': 1}}}]},
        'accumulator $topN is not',
    ),
    (
        {'update': 'm', 'updates': [{'q': {}, 'u': {'$bit': {}}}]},
        'update $bit is not',
    ),
    (
        {'update': 'm', 'updates': [{'q': {}, 'u': [{'$match': {}}]}]},
        'update stage $match is not',
    ),
    (
        {
            'update': 'm',
            'updates': [{'q': {}, 'u': [{'$set': {'a': {'$dateAdd': 1}}}]}],
        },
        'expression $dateAdd is not',
    ),
    (
        {
            'findAndModify': 'm',
            'update': [{'$set': {'a': {'$cond': ['$$USER_ROLES', 1, 2]}}}],
        },
        'variable $$USER_ROLES is not',
    ),
    (
        {
            'update': 'm',
            'updates': [{'q': {'_id.a': 1}, 'u': {}, 'upsert': True}],
        },
        'an upsert with _id.a',
    ),
    (
        {'update': 'm', 'updates': [{'q': {}, 'u': {}, 'sort': {}}]},
        'option update.updates.sort is not',
    ),
    (
        {'update': 'm', 'updates': [{'q': {}, 'multi': True}], **RETRIED},
        'not retryable',
    ),
    ({'delete': 'm', 'deletes': [{'limit': 0}], **RETRIED}, 'not retryable'),
    ({'insert': 'm', 'documents': [{'$a': 1}]}, 'a field $a'),
    ({'insert': 'm', 'documents': [{'a': {'b.c': 1}}]}, 'a field b.c'),
    (
        {'insert': 'm', 'writeConcern': MAJORITY, **INSIDE},
        'writeConcern in a transaction',
    ),
    (
        {'find': 'm', **INSIDE, 'readConcern': {'level': 'snapshot'}},
        'readConcern later',
    ),
    (
        {'find': 'm', **INSIDE, '$readPreference': {'mode': 'nearest'}},
        'read preference nearest',
    ),
    ({'createIndexes': 'm', **INSIDE}, 'createIndexes in a transaction'),
    ({'commitTransaction': 1, **FIRST}, 'as the first command'),
    ({'find': 'm', 'autocommit': False}, 'incomplete transaction'),
    (
        {'findAndModify': 'm', 'remove': True, 'upsert': True},
        'removes, with upsert',
    ),
]


@pytest.mark.parametrize('command', GOOD, ids=str)
def test_a_command_that_mongodb_takes_has_no_fault(
    command: dict[str, Any],
) -> None:
    assert list(Reference().faults(command, 'zaqar')) == []


@pytest.mark.parametrize(('command', 'fault'), BAD, ids=str)
def test_a_command_that_some_server_refuses_has_a_fault(
    command: dict[str, Any], fault: str
) -> None:
    faults = list(Reference().faults(command, 'zaqar'))
    assert any(fault in text for text in faults), faults


def test_databases_of_the_server_are_out_of_transactions() -> None:
    faults = Reference().faults({'find': 'm', **INSIDE}, 'config')
    assert list(faults) == ['find on config in a transaction']


def test_what_is_newer_than_the_oldest_version_is_a_fault(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / 'table.csv'
    path.write_text(
        'Kind,Name,Since,Transactions\n'
        'command,ping,4.4.2,no\n'
        'command,bulkWrite,8.0,yes\n'
    )
    reference = Reference(path)
    assert list(reference.faults({'ping': 1}, 'admin')) == []
    assert list(reference.faults({'bulkWrite': 1}, 'admin')) == [
        'command bulkWrite is unknown to the oldest version'
    ]
    assert reference.unused == []


def test_the_table_has_each_thing_once_and_all_its_columns() -> None:
    with TABLE.open(newline='') as file:
        rows = list(csv.DictReader(file, strict=True))
    names = [(row['Kind'], row['Name']) for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert None not in row
        assert {row['API v1'], row['Transactions']} <= {'yes', 'no'}


def started(command: dict[str, Any], request: int) -> Any:
    """Return the event of a command that is sent."""
    return monitoring.CommandStartedEvent(
        command, 'zaqar', request, ('127.0.0.1', 1), request
    )


def succeeded(name: str, request: int) -> Any:
    """Return the event of an answer."""
    return monitoring.CommandSucceededEvent(
        datetime.timedelta(), {}, name, request, ('127.0.0.1', 1), request
    )


def test_two_commands_of_a_transaction_at_once_are_a_fault() -> None:
    recorder = Recorder()
    recorder.started(started({'find': 'm', **FIRST}, 1))
    recorder.succeeded(succeeded('find', 1))
    recorder.started(started({'find': 'm', **INSIDE}, 2))
    assert recorder.faults == []
    recorder.started(started({'find': 'm', **INSIDE}, 3))
    assert recorder.faults == [
        'find while another command of its transaction runs'
    ]


def test_commands_of_the_tests_themselves_are_not_checked() -> None:
    recorder = Recorder()
    recorder.started(started({'currentOp': 1, 'comment': OURS}, 1))
    assert recorder.faults == []
    recorder.started(started({'currentOp': 1}, 2))
    assert recorder.faults == ['command currentOp is not in the table']
