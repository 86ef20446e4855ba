# SPDX-License-Identifier: Apache-2.0
"""``zaqar-bench --sqs``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from zaqar.tests.servers.zaqar import Zaqar


@pytest.mark.parametrize('bulk', ['--bulk_delete', '--nobulk_delete'])
def test_all_roles_work_in_the_protocol_of_sqs(
    zaqar: Zaqar, project: str, bulk: str
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'zaqar.cmd.bench', '--sqs', bulk),
            *('-s', zaqar.url, '-q', project, '-t', '1', '--warm_up', '0.1'),
            *('-pw', '2', '-cw', '2', '-ow', '1', '--wait', '--nodebug'),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            'AWS_ACCESS_KEY_ID': project,
            'AWS_SECRET_ACCESS_KEY': 'secret',
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    for role in ('producer', 'observer', 'consumer'):
        assert figures[role]['errors'] == {}
        assert figures[role]['successful_reqs'] > 0
    assert figures['consumer']['messages_processed'] > 0
