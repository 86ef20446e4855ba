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
from typing import Any

import pytest

from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

pytestmark = pytest.mark.parametrize('zaqar', ['sqlite'], indirect=True)


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
