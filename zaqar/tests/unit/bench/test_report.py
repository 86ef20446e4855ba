# SPDX-License-Identifier: Apache-2.0
"""What the load generator makes of what its workers saw."""

from __future__ import annotations

import json
import pathlib

import pytest

from zaqar.bench import post_timestamps, report, sample_messages, worker_pool
from zaqar.bench.request_durations import Durations
from zaqar.bench.worker_pool import WorkerResult
from zaqar.bench.worker_roles import CallStatistics, Workload
from zaqar.errors import ConfigurationError


def _seconds(*values: float) -> Durations:
    durations = Durations()
    for value in values:
        durations.add(value)
    return durations


def test_quantiles_are_durations_that_were_seen() -> None:
    thousand = _seconds(*(i / 1000 for i in range(1000, 0, -1)))

    assert thousand.quantiles_ms() == {
        'p50': 500.0,
        'p95': 950.0,
        'p99': 990.0,
        'p999': 999.0,
    }


def test_one_request_is_every_quantile() -> None:
    assert set(_seconds(0.25).quantiles_ms().values()) == {250.0}


def test_nothing_measured_is_zero() -> None:
    assert set(Durations().quantiles_ms().values()) == {0.0}
    assert Durations().mean_ms == 0


def test_merging_keeps_every_request_and_every_error() -> None:
    first, second = _seconds(0.1), _seconds(0.3)
    first.fail('503')
    second.fail('503')

    whole = Durations.merge([first, second])

    assert (whole.successful, whole.total) == (2, 4)
    assert whole.mean_ms == pytest.approx(200)
    assert whole.errors == {'503': 2}


def _result(role: str, seconds: float, messages: int = 0, **calls: Durations):
    return WorkerResult(
        role, seconds, CallStatistics(calls=calls, messages=messages)
    )


def test_a_role_lasts_as_long_as_its_slowest_worker() -> None:
    figures = report.summarize(
        [
            _result('producer', 2.0, post=_seconds(0.5)),
            _result('producer', 4.0, post=_seconds(0.5)),
        ],
        {},
    )

    assert figures['producer']['duration_sec'] == 4.0
    assert figures['producer']['reqs_per_sec'] == 0.5


def test_latencies_of_several_workers_are_not_mixed_up() -> None:
    """Each call is timed by the worker that made it."""
    figures = report.summarize(
        [
            _result(
                'consumer', 1.0, 3, claim=_seconds(0.1), delete=_seconds(0.2)
            ),
            _result(
                'consumer', 1.0, 4, claim=_seconds(0.3), delete=_seconds(0.4)
            ),
        ],
        {},
    )['consumer']

    assert figures['ms_per_claim'] == pytest.approx(200)
    assert figures['ms_per_delete'] == pytest.approx(300)
    assert figures['messages_processed'] == 7
    assert figures['claim_total_requests'] == 2
    assert figures['total_reqs'] == 4


def test_roles_without_workers_are_left_out() -> None:
    figures = report.summarize([_result('observer', 1.0)], {'a': {'b': 1}})

    assert list(figures) == ['observer', 'params']


def test_the_keys_of_a_role_are_those_that_scripts_read() -> None:
    keys = {'duration_sec', 'total_reqs', 'successful_reqs', 'reqs_per_sec'}
    figures = report.summarize(
        [_result('producer', 1.0), _result('consumer', 1.0)], {}
    )

    assert keys | {'ms_per_req'} <= set(figures['producer'])
    assert keys | {'ms_per_claim', 'ms_per_delete'} <= set(figures['consumer'])


def test_receipts_of_several_consumers_are_merged() -> None:
    results = [_result('consumer', 1.0), _result('consumer', 1.0)]
    for number, result in enumerate(results, 1):
        result.statistics.receipts.add(number / 1000)

    receipts = report.summarize(results, {})['consumer']['post_to_receipt']

    assert (receipts['p50'], receipts['p99']) == (1.0, 2.0)


@pytest.mark.parametrize('body', ['text', {'a': 1}, [1]])
def test_a_message_carries_the_time_of_its_post(body: object) -> None:
    (message,) = post_timestamps.stamped([{'ttl': 60, 'body': body}])

    age = post_timestamps.seconds_since_post(message['body'])
    assert age is not None and 0 <= age < 60
    assert body in message['body'].values()
    assert message['ttl'] == 60
    assert post_timestamps.seconds_since_post(body) is None


def _plan(consumers: int, queues: int, *, wait: int) -> worker_pool.Plan:
    return worker_pool.Plan(
        url='',
        headers={},
        processes=[('producer', 1), *[('consumer', consumers)] * 2],
        workload=Workload(
            queues=[str(number) for number in range(queues)],
            messages=sample_messages.SampleMessages([]),
            claim=1,
            list=1,
            post=1,
            bulk=False,
            wait=wait,
        ),
        seconds=1,
        warm_up=0,
    )


@pytest.mark.parametrize(
    ('consumers', 'queues', 'shared'),
    [
        (1, 4, [['0', '2'], ['1', '3']]),
        (2, 3, [['0'], ['1'], ['2'], ['0']]),
        (1, 1, [['0'], ['0']]),
    ],
)
def test_consumers_that_wait_share_the_queues(
    consumers: int, queues: int, shared: list[list[str]]
) -> None:
    shares = [*worker_pool.worker_queues(_plan(consumers, queues, wait=20))]

    assert [role for role, _ in shares] == ['producer', *['consumer'] * 2]
    assert [own for _, each in shares[1:] for own in each] == shared
    every = [str(number) for number in range(queues)]
    assert shares[0][1] == [every]
    polls = worker_pool.worker_queues(_plan(consumers, queues, wait=0))
    assert all(own == every for _, each in polls for own in each)


def _write(folder: pathlib.Path, content: object) -> str:
    path = folder / sample_messages.FILE_NAME
    path.write_text(json.dumps(content))
    return str(path)


def test_messages_are_drawn_by_weight(tmp_path: pathlib.Path) -> None:
    path = _write(
        tmp_path,
        [
            {'weight': 1, 'doc': {'ttl': 60, 'body': 'often'}},
            {'weight': 0, 'doc': {'ttl': 60, 'body': 'never'}},
        ],
    )

    drawn = sample_messages.load(path, [], 1).draw(50)

    assert {item['body'] for item in drawn} == {'often'}


def test_a_file_beside_the_configuration_is_found(
    tmp_path: pathlib.Path,
) -> None:
    _write(tmp_path, [{'weight': 1, 'doc': {'ttl': 60, 'body': 'mine'}}])

    pool = sample_messages.load(None, [str(tmp_path / 'zaqar.conf')], 1)

    assert pool.draw(1)[0]['body'] == 'mine'


def test_without_a_file_there_is_one_message_of_the_size_asked_for() -> None:
    assert len(sample_messages.load(None, [], 300).draw(1)[0]['body']) == 300


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ([{'weight': 0.4, 'doc': {}}], 'add up to 1'),
        ([{'weight': 2, 'doc': {}}], r'\$\[0\]\.weight'),
        ({'weight': 1}, 'array'),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: pathlib.Path, content: object, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        sample_messages.load(_write(tmp_path, content), [], 1)


def test_a_missing_file_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigurationError, match='nowhere'):
        sample_messages.load(str(tmp_path / 'nowhere'), [], 1)
