# SPDX-License-Identifier: Apache-2.0
"""``zaqar-bench`` against the running service."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import uuid
from typing import Any

import pytest
import requests

from zaqar.bench import credentials
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar


def _bench(
    *arguments: str,
    env: dict[str, str] | None = None,
    stderr: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'zaqar.cmd.bench', *arguments],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
    )


def _figures(
    zaqar: Zaqar, prefix: str, *arguments: str, url: str = ''
) -> dict[str, Any]:
    done = _bench(
        *('-s', url or zaqar.url, '-q', prefix, '-t', '1'),
        *('--warm_up', '0.1', '--nodebug', *arguments),
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    ('bulk', 'over'),
    [
        ('--bulk_delete', 'http'),
        ('--nobulk_delete', 'http'),
        ('--bulk_delete', 'websocket'),
        ('--nobulk_delete', 'websocket'),
    ],
)
def test_all_roles_work_without_an_error(
    zaqar: Zaqar, project: str, bulk: str, over: str
) -> None:
    figures = _figures(
        zaqar,
        project,
        *('-pw', '2', '-cw', '2', '-ow', '2', '-cp', '2', bulk),
        url=zaqar.socket_url if over == 'websocket' else zaqar.url,
    )

    for role in ('producer', 'observer', 'consumer'):
        assert figures[role]['errors'] == {}
        assert figures[role]['successful_reqs'] > 0
        assert figures[role]['duration_sec'] >= 1
    for timed in (figures['producer'], figures['consumer']['claim']):
        assert 0 < timed['p50'] <= timed['p95'] <= timed['p99']
        assert timed['p99'] <= timed['p999']
    assert figures['consumer']['messages_processed'] > 0
    assert figures['params']['consumer'] == {'processes': 2, 'workers': 2}


@pytest.mark.parametrize('over', ['http', 'websocket'])
def test_consumers_that_wait_make_few_requests(
    zaqar: Zaqar, project: str, over: str
) -> None:
    url = zaqar.socket_url if over == 'websocket' else zaqar.url
    few = ('-pw', '0', '-cw', '4', '-ow', '0', '-t', '2')
    polls = _figures(zaqar, project, *few, url=url)['consumer']
    waits = _figures(zaqar, project, *few, '--wait', url=url)['consumer']

    assert waits['claim_total_requests'] <= 8 < polls['claim_total_requests']
    assert polls['errors'] == waits['errors'] == {}
    # Not the time until the last of them was answered.
    assert waits['duration_sec'] == pytest.approx(2, abs=0.01)


def test_consumers_wait_no_longer_than_the_service_allows(
    zaqar: Zaqar, project: str, tmp_path: pathlib.Path
) -> None:
    few = ('-pw', '0', '-cw', '1', '-ow', '0', '-t', '4', '--wait')
    assert not _figures(zaqar, project, *few)['consumer']['errors']
    strict = Zaqar(tmp_path, rest='[transport]\nmax_wait = 2\n').start()
    try:
        refused = _figures(strict, project, *few)
        served = _figures(strict, project, *few, '--wait_seconds', '2')
    finally:
        strict.stop()
    assert refused['consumer']['errors']
    assert not served['consumer']['errors']


@pytest.mark.parametrize('wait', ['--wait', '--nowait'])
@pytest.mark.parametrize('over', ['http', 'websocket'])
def test_the_time_from_post_to_receipt_is_shown(
    zaqar: Zaqar, project: str, wait: str, over: str
) -> None:
    figures = _figures(
        zaqar,
        project,
        *('-pw', '1', '-cw', '3', '-ow', '0', '-qno', '2', wait),
        url=zaqar.socket_url if over == 'websocket' else zaqar.url,
    )

    consumer = figures['consumer']
    assert consumer['errors'] == figures['producer']['errors'] == {}
    assert consumer['messages_processed'] > 0
    took = consumer['post_to_receipt']
    assert 0 < took['p50'] <= took['p95'] <= took['p99'] < 60_000


def test_what_others_have_posted_has_no_time_of_receipt(
    zaqar: Zaqar, project: str
) -> None:
    requests.post(
        f'{zaqar.url}/v2/queues/{project}-0/messages',
        json={'messages': [{'body': {'posted_at': '?'}}, {'body': 'text'}]},
        headers={
            'Client-ID': str(uuid.uuid4()),
            'X-Project-ID': credentials.PROJECT,
        },
        timeout=60,
    ).raise_for_status()

    consumer = _figures(
        zaqar,
        project,
        *('-pw', '0', '-cw', '1', '-ow', '0', '-qno', '1', '--wait'),
        *('--skip_queue_reset', '--warm_up', '0'),
    )['consumer']

    assert consumer['messages_processed'] == 2
    assert set(consumer['post_to_receipt'].values()) == {0.0}


def test_a_consumer_deletes_what_it_counts(zaqar: Zaqar, project: str) -> None:
    """Fill the queues, then drain them whole."""
    one = ('-qno', '1', '-ow', '0')
    posted = _figures(zaqar, project, *one, '-pw', '1', '-bno', '10')
    drained = _figures(
        zaqar,
        project,
        *one,
        *('-pw', '0', '-cw', '4', '-cno', '20', '--warm_up', '0'),
        *('--skip_queue_reset', '--bulk_delete', '-t', '4'),
    )

    # Those of the warm-up were posted as well.
    count = posted['producer']['successful_reqs'] * 10
    assert drained['consumer']['messages_processed'] >= count


def test_the_table_is_for_people(zaqar: Zaqar, project: str) -> None:
    done = _bench('-s', zaqar.url, '-q', project, '-t', '1')

    assert done.returncode == 0, done.stderr
    assert 'Producer' in done.stdout
    assert 'p999' in done.stdout


def test_a_terminal_is_shown_how_far_it_is(zaqar: Zaqar, project: str) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, 'rb', buffering=0) as seen:
        done = _bench(
            *('-s', zaqar.url, '-q', project, '-t', '1'), stderr=theirs
        )
        os.close(theirs)
        shown = seen.read(65536).decode()

    assert done.returncode == 0, shown
    bars = re.findall(r'\[(#*)(\.*)\]', shown)
    assert {len(done) + len(left) for done, left in bars} == {40}
    filled = [len(done) for done, _ in bars]
    assert filled == sorted(filled)
    assert (filled[0], filled[-1]) == (0, 40)


def test_a_service_that_is_not_there_is_one_line(zaqar: Zaqar) -> None:
    url = f'http://127.0.0.1:{process.free_port()}'
    done = _bench('-s', url)

    assert done.returncode == 1
    assert done.stderr.startswith(f'zaqar-bench: {url}: ')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['-api', '3'], 'no version 3'),
        (['-s', 'ftp://somewhere'], 'must begin with http'),
        (['-pw', '0', '-ow', '0'], 'nothing to do'),
        (['-m', '/dev/null/x'], '/dev/null/x'),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    zaqar: Zaqar, arguments: list[str], said: str
) -> None:
    done = _bench(*arguments)

    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count('\n') == 1


def test_wrong_usage_exits_with_2(zaqar: Zaqar) -> None:
    assert _bench('--no-such-flag').returncode == 2
    assert _bench('-t', '0').returncode == 2


def test_keystone_without_credentials_is_refused(
    zaqar: Zaqar, tmp_path: pathlib.Path
) -> None:
    clean = {name: '' for name in os.environ if name.startswith('OS_')}
    done = _bench(
        *('-s', zaqar.url),
        env={**clean, 'OS_AUTH_STRATEGY': 'keystone', 'HOME': str(tmp_path)},
    )

    assert done.returncode == 1
    assert done.stderr.startswith('zaqar-bench: ')
    assert 'Traceback' not in done.stderr
