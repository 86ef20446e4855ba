# SPDX-License-Identifier: Apache-2.0
"""What a running service tells its operator: reports and figures."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence, Set

import pytest
import requests
import websocket
from prometheus_client.parser import text_string_to_metric_families

from zaqar import version
from zaqar.api.microversion_negotiation import HEADER
from zaqar.metric_definitions import METRICS
from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.watched_service import HEADERS, KEY, Watched
from zaqar.tests.servers import process
from zaqar.tests.servers.receivers import Receiver
from zaqar.tests.servers.zaqar import Zaqar

MANUAL = pathlib.Path(__file__).parents[3] / 'doc/source/admin/monitoring.rst'


@pytest.fixture(scope='module')
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    service = Watched(tmp_path_factory.mktemp('watched'))
    yield service
    service.stop()


def test_operations_are_counted_by_outcome(watched: Watched) -> None:
    def count(status: str) -> float:
        return watched.value(
            'zaqar_request_seconds_count',
            operation='claim_get',
            status=status,
        )

    assert watched.ask('GET', '/queues/jobs/claims/none') == 404
    assert watched.ask('GET', '/queues/jobs/claims/none') == 404
    assert (count('404'), count('2xx')) == (2, 0)


def test_messages_and_calls_of_stores_are_counted(watched: Watched) -> None:
    before = watched.value('zaqar_messages_total', how='post')
    messages = {'messages': [{'body': 1}, {'body': 2}, {'body': 3}]}
    assert watched.ask('POST', '/queues/counted/messages', messages) == 201
    assert watched.ask('POST', '/queues/counted/claims') == 201

    assert watched.value('zaqar_messages_total', how='post') >= before + 3
    configured = {'driver': 'sqlalchemy', 'pool': ':message_store'}
    moved = watched.value('zaqar_messages_total', how='claim', **configured)
    assert moved >= 3
    posts = {'driver': 'sqlalchemy', 'call': 'post', 'result': 'ok'}
    assert watched.value('zaqar_store_call_seconds_count', **posts) > 0


def test_series_of_deliveries_exist_before_the_first_one(
    watched: Watched,
) -> None:
    name = 'zaqar_notification'
    wanted = {
        f'{name}_deliveries_total{{outcome="dropped",scheme="any"}} 0.0',
        f'{name}_dead_letters_total{{stored="no"}} 0.0',
        f'{name}_dead_letters_total{{stored="yes"}} 0.0',
        f'{name}_unreadable_total 0.0',
        f'{name}_held 0.0',
        f'{name}_open_circuits 0.0',
        f'{name}_waiting{{pool=""}} 0.0',
        f'{name}_oldest_seconds{{pool=""}} 0.0',
    }
    for scheme in ('http', 'https', 'mailto', 'trust+https', 'websocket'):
        wanted.add(
            f'{name}_attempt_seconds_count{{scheme="{scheme}"}} 0.0',
        )
        for outcome in ('delivered', 'retried', 'given_up'):
            labels = f'{{outcome="{outcome}",scheme="{scheme}"}}'
            wanted.add(f'{name}_deliveries_total{labels} 0.0')
    watched.server.process.wait_until(
        lambda: wanted <= set(watched.read().splitlines())
    )
    # The posts of other tests here have moved this one.
    assert f'{name}_notices_total ' in watched.read()


def test_the_release_is_a_figure(watched: Watched) -> None:
    (line,) = (
        line
        for line in watched.read().splitlines()
        if line.startswith('zaqar_build_info{')
    )
    assert f'version="{version.version_string()}"' in line
    assert line.endswith(' 1.0')


def test_no_figure_names_a_project_or_a_queue(watched: Watched) -> None:
    watched.ask('PUT', '/queues/a-queue-of-ours')

    assert 'of-ours' not in watched.read()


def test_figures_survive_the_end_of_a_worker(watched: Watched) -> None:
    watched.ask('GET', '/ping')
    before = watched.value('zaqar_request_seconds_count')

    for worker in watched.server.workers():
        os.kill(worker, signal.SIGKILL)
    watched.server.process.wait_until(watched.server.answers)
    watched.server.process.wait_until(
        lambda: watched.value('zaqar_request_seconds_count') >= before
    )


def test_open_connections_are_counted(watched: Watched) -> None:
    def count() -> float:
        return watched.value('zaqar_connections')

    wait = watched.server.process.wait_until
    wait(lambda: process.accepts(watched.websocket))
    wait(lambda: count() == 0)
    first = websocket.create_connection(f'ws://127.0.0.1:{watched.websocket}')
    second = websocket.create_connection(f'ws://127.0.0.1:{watched.websocket}')
    wait(lambda: count() == 2)
    first.close()
    second.close()
    wait(lambda: count() == 0)


def test_statsd_is_sent_the_same(watched: Watched) -> None:
    watched.ask('GET', '/queues')

    watched.server.process.wait_until(
        lambda: 'zaqar.request.queue_list.2xx' in watched.sent
    )


def _documented() -> Mapping[str, Sequence[str]]:
    """Return the labels of each metric in the manual, by its name."""
    row = re.compile(r'^   \* - ``(zaqar_\w+)``\n     -(.*)\n', re.MULTILINE)
    return {
        name: re.findall(r'``(\w+)``', labels)
        for name, labels in row.findall(MANUAL.read_text())
    }


def _stem(name: str) -> str:
    """Return the name of a metric for statsd, without its prefix."""
    return re.sub(r'^zaqar_|_seconds$|_total$', '', name)


def _exported(text: str) -> Mapping[str, Set[str]]:
    """Return the labels of each metric for Prometheus, by its name."""
    exported: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        total = '_total' if family.type == 'counter' else ''
        labels = exported.setdefault(family.name + total, set())
        for sample in family.samples:
            labels |= sample.labels.keys() - {'le'}
    return exported


def test_each_documented_metric_is_exported_to_both(watched: Watched) -> None:
    documented = _documented()
    assert {_stem(name): labels for name, labels in documented.items()} == {
        name: list(metric.labels) for name, metric in METRICS.items()
    }
    # There with an option alone, which lets metrics name projects.
    documented = {
        name: labels
        for name, labels in documented.items()
        if name != 'zaqar_top_projects'
    }
    receiver = Receiver()
    watched.ask('PUT', '/queues/notified')
    watched.ask(
        'POST', '/queues/notified/subscriptions', {'subscriber': receiver.url}
    )
    watched.ask(
        'POST', '/queues/notified/messages', {'messages': [{'body': 1}]}
    )
    websocket.create_connection(f'ws://127.0.0.1:{watched.websocket}').close()
    receiver.wait(1)
    receiver.stop()

    expected = {name: set(labels) for name, labels in documented.items()}
    expected['zaqar_build_info'] = {'version', 'python'}
    watched.server.process.wait_until(
        lambda: _exported(watched.read()) == expected
    )
    # A name for statsd and how many values of labels follow it.
    counts = {
        (_stem(name), len(labels)) for name, labels in documented.items()
    }

    def sent() -> Set[tuple[str, int]]:
        names = [name.split('.') for name in list(watched.sent)]
        return {(name, len(labels)) for _, name, *labels in names}

    watched.server.process.wait_until(lambda: sent() == counts)
    assert 'zaqar.notification_deliveries.http.delivered' in watched.sent
    assert 'zaqar.notification_attempt.http' in watched.sent
    assert 'zaqar.messages.sqlalchemy.-message_store.post' in watched.sent
    assert 'zaqar.notification_waiting.-message_store' in watched.sent


def test_messages_of_the_notifier_are_not_counted(watched: Watched) -> None:
    def count(how: str) -> float:
        return watched.value('zaqar_messages_total', how=how)

    receiver = Receiver()
    subscription = {'subscriber': receiver.url}
    watched.ask('POST', '/queues/told/subscriptions', subscription)
    before = count('post'), count('claim')
    messages = {'messages': [{'body': 1}, {'body': 2}]}
    assert watched.ask('POST', '/queues/told/messages', messages) == 201
    receiver.wait(2)
    receiver.stop()

    assert (count('post'), count('claim')) == (before[0] + 2, before[1])


def test_rejections_by_quotas_are_counted(watched: Watched) -> None:
    def count() -> float:
        return watched.value('zaqar_quota_rejections_total', resource='topics')

    assert watched.ask('PUT', '/topics/first') == 201
    assert count() == 0
    assert watched.ask('PUT', '/topics/second') == 403
    assert count() == 1


def test_requests_that_wait_and_streams_are_counted(watched: Watched) -> None:
    def counts() -> tuple[float, float]:
        return (
            watched.value('zaqar_waiting_requests'),
            watched.value('zaqar_streams'),
        )

    wait = watched.server.process.wait_until
    wait(lambda: process.accepts(watched.websocket))
    assert counts() == (0, 0)
    headers = {**HEADERS, HEADER: V2_1.header}
    claim = threading.Thread(
        target=requests.post,
        args=(f'{watched.server.url}/v2/queues/awaited/claims?wait=30',),
        kwargs={'headers': headers, 'timeout': 60},
    )
    claim.start()
    with requests.get(
        f'http://127.0.0.1:{watched.websocket}/v2/queues/awaited/messages',
        headers={**headers, 'Accept': 'text/event-stream'},
        stream=True,
        timeout=60,
    ):
        wait(lambda: counts() == (1, 1))
    watched.ask(
        'POST', '/queues/awaited/messages', {'messages': [{'body': 1}]}
    )
    claim.join()
    wait(lambda: counts() == (0, 0))


def _can_report(pid: int) -> bool:
    """Tell whether a process catches SIGUSR2 by now."""
    status = pathlib.Path(f'/proc/{pid}/status').read_text()
    caught = re.search(r'^SigCgt:\s*(\S+)$', status, re.MULTILINE)
    assert caught
    return bool(int(caught[1], 16) >> (signal.SIGUSR2 - 1) & 1)


def test_every_process_reports_when_the_service_is_asked(
    tmp_path: pathlib.Path,
) -> None:
    port = process.free_port()
    rest = (
        f'[drivers:transport:websocket]\nport = {port}\n'
        f'[signed_url]\nsecret_key = {KEY}\n'
    )
    server = Zaqar(tmp_path, rest=rest).start()
    try:
        children = server.workers()
        server.process.wait_until(lambda: all(map(_can_report, children)))
        os.kill(server.process.child.pid, signal.SIGUSR2)
        server.process.wait_until(
            lambda: all(
                f'Process {pid} ' in server.log.read_text() for pid in children
            )
        )
        server.process.wait_until(
            lambda: 'hosts with an open circuit' in server.log.read_text()
        )
        text = server.log.read_text()
        for title in (
            *('Package', 'Threads', 'Processes', 'Configuration', 'Pools'),
            *('WebSocket', 'Notifications'),
        ):
            assert re.search(rf'=+ +{title} +=+', text), title
        assert 'secret_key = ***' in text
        assert KEY not in text
        # It went on.
        assert server.answers()
        assert server.workers() == children
    finally:
        server.stop()


def test_the_touch_of_a_file_asks_where_signals_are_taken(
    tmp_path: pathlib.Path,
) -> None:
    trigger, answered = tmp_path / 'ask', tmp_path / 'reports'
    trigger.touch()
    trigger.chmod(0o644)
    answered.mkdir()
    rest = (
        f'[oslo_reports]\nfile_event_handler = {trigger}\n'
        f'log_dir = {answered}\n[drivers:transport:websocket]\n'
        f'port = {process.free_port()}\n'
    )
    server = Zaqar(tmp_path, rest=rest).start()
    try:

        def touched() -> bool:
            trigger.touch()
            return any(answered.iterdir())

        server.process.wait_until(touched)
    finally:
        server.stop()


def test_a_file_to_watch_that_is_not_there_is_named(
    tmp_path: pathlib.Path,
) -> None:
    rest = '[oslo_reports]\nfile_event_handler = /dev/null/ask\n'
    done = Zaqar(tmp_path, rest=rest).run()

    assert done.returncode == 1
    assert '/dev/null/ask' in done.stderr


def test_a_port_that_is_taken_is_named(tmp_path: pathlib.Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        other = process.free_port()
        rest = (
            f'[metrics]\nport = {port}\n'
            f'[drivers:transport:websocket]\nport = {other}\n'
        )
        done: subprocess.CompletedProcess[str] = Zaqar(
            tmp_path, rest=rest
        ).run()

    assert done.returncode == 1
    assert '[metrics] bind, port' in done.stderr
