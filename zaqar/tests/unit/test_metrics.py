# SPDX-License-Identifier: Apache-2.0
"""What is counted of calls of a store, and what is loaded while off."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from zaqar.metrics import Metrics
from zaqar.storage.abstract_stores import OUTBOX, PENDING
from zaqar.tests.recorder import Recorder

#: Builds all that the processes of the service are, by a configuration.
_BUILD = """
import sys
from zaqar import config_loading, opts, service_assembly
from zaqar.cmd import gc, notifier, server, sql_db_manage
words = ['--config-file', sys.argv[1]]
conf = config_loading.load(server.PROG, words, server.register_opts)
running = service_assembly.Service(conf)
running.application()
running.websocket()
running.notifier()
running.close()
for library in ('prometheus_client', 'statsd'):
    print(library in sys.modules)
"""


class _Store:
    def post(self, qid: str, messages: Sequence[Any]) -> Sequence[Any]:
        return messages


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_messages_of_a_queue_are_counted(recorder: Recorder) -> None:
    store = Metrics([recorder]).store(_Store(), 'message_store', 'fake')
    store.post('q', ['a', 'b'])
    assert recorder.records[1:] == [
        ('messages', 2, ('fake', ':message_store', 'post'))
    ]


@pytest.mark.parametrize('qid', [OUTBOX, PENDING])
def test_those_of_the_notifier_are_calls_only(
    recorder: Recorder, qid: str
) -> None:
    store = Metrics([recorder]).store(_Store(), 'message_store', 'fake')
    store.post(qid, ['a', 'b'])
    ((name, _, labels),) = recorder.records
    assert name == 'store_call'
    assert labels == ('message_store', 'fake', 'post', 'ok')


@pytest.mark.parametrize(
    ('settings', 'loaded'),
    [
        ('', ['False', 'False']),
        ('port = 1', ['True', 'False']),
        ('statsd_host = 127.0.0.1', ['False', 'True']),
    ],
)
def test_libraries_are_loaded_only_where_they_are_used(
    tmp_path: pathlib.Path, settings: str, loaded: Sequence[str]
) -> None:
    conf = tmp_path / 'zaqar.conf'
    conf.write_text(
        f'[DEFAULT]\nstate_path = {tmp_path}\n[metrics]\n{settings}\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', _BUILD, str(conf)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == loaded, done.stderr
