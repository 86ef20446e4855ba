# SPDX-License-Identifier: Apache-2.0
"""What a running service tells its operator: reports and figures."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
import requests
import websocket

from zaqar import version
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

_HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'a-project-of-ours',
}

_KEY = 'a signing key that is nobody elses'

_REST = """
[drivers:transport:websocket]
port = {websocket}
[metrics]
port = {metrics}
statsd_host = 127.0.0.1
statsd_port = {statsd}
[signed_url]
secret_key = {key}
"""

DASHBOARD = (
    pathlib.Path(__file__).parents[3] / 'etc/zaqar/grafana-dashboard.json'
)


class Watched:
    """A service, where its figures are, and who is sent them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.statsd.bind(('127.0.0.1', 0))
        self.statsd.settimeout(30)
        self.websocket = process.free_port()
        port = process.free_port()
        self.figures = f'http://127.0.0.1:{port}/metrics'
        rest = _REST.format(
            websocket=self.websocket,
            metrics=port,
            statsd=self.statsd.getsockname()[1],
            key=_KEY,
        )
        self.server = Zaqar(folder, rest=rest, workers=2).start()

    def read(self) -> str:
        """Return what Prometheus is answered."""
        return requests.get(self.figures, timeout=10).text

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels."""
        found = 0.0
        for line in self.read().splitlines():
            key, _, value = line.rpartition(' ')
            if key.partition('{')[0] == name and all(
                f'{label}="{wanted}"' in key
                for label, wanted in labels.items()
            ):
                found += float(value)
        return found

    def ask(self, method: str, path: str, document: object = None) -> int:
        """Send a request; return the status of the answer."""
        url = f'{self.server.url}/v2{path}'
        answer = requests.request(
            method, url, json=document, headers=_HEADERS, timeout=30
        )
        return answer.status_code


@pytest.fixture(scope='module')
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    found = Watched(tmp_path_factory.mktemp('watched'))
    yield found
    found.server.stop()
    found.statsd.close()


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

    lines = set()
    while 'zaqar.request.queue_list.2xx' not in lines:
        sent = watched.statsd.recv(2000).decode()
        lines.add(re.split(r':', sent)[0])


def test_the_dashboard_asks_for_figures_that_there_are(
    watched: Watched,
) -> None:
    watched.ask('GET', '/queues')
    panels = json.loads(DASHBOARD.read_text())['panels']
    asked = {
        name
        for panel in panels
        for target in panel['targets']
        for name in re.findall(r'zaqar_[a-z_]+', target['expr'])
    }
    # Kept in files by whoever counts first, hence looked for in the code.
    source = ''.join(
        path.read_text()
        for path in (DASHBOARD.parents[2] / 'zaqar').rglob('metrics.py')
    )

    for name in asked:
        stem = re.sub(r'^zaqar_(notification_)?', '', name)
        stem = re.sub(r'_(seconds_(bucket|count)|total)$', '', stem)
        assert f"'{stem}'" in source, name


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
        f'[signed_url]\nsecret_key = {_KEY}\n'
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
        assert _KEY not in text
        # It went on.
        assert server.answers()
        assert server.workers() == children
    finally:
        server.stop()


def test_the_touch_of_a_file_asks_where_signals_are_taken(
    tmp_path: pathlib.Path,
) -> None:
    asked, answered = tmp_path / 'ask', tmp_path / 'reports'
    asked.touch()
    asked.chmod(0o644)
    answered.mkdir()
    rest = (
        f'[oslo_reports]\nfile_event_handler = {asked}\n'
        f'log_dir = {answered}\n[drivers:transport:websocket]\n'
        f'port = {process.free_port()}\n'
    )
    server = Zaqar(tmp_path, rest=rest).start()
    try:

        def touched() -> bool:
            asked.touch()
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
