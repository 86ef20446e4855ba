# SPDX-License-Identifier: Apache-2.0
"""What the load generator counts."""

from __future__ import annotations

import itertools
import socket
import threading

import pytest

from benchmarks import load
from benchmarks.load import Step

_ANSWERS = (
    b'HTTP/1.1 204 No Content\r\n\r\n',
    b'HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}',
)


def _serve(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client:
        for answer in itertools.cycle(_ANSWERS):
            if not client.recv(100):
                break
            client.sendall(answer)


def _five() -> load.Script:
    for _ in range(5):
        yield Step(b'x', 201, 204)


def test_an_answer_that_is_let_pass_is_counted_and_no_sample() -> None:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=_serve, args=[listener])
        thread.start()

        samples = load.run(port, [_five()], 60)
        thread.join()

    assert samples.poor == 3
    assert len(samples.latencies) == 2


def test_any_other_answer_ends_it() -> None:
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=_serve, args=[listener])
        thread.start()

        with pytest.raises(load.WrongAnswerError, match='201 was expected'):
            load.run(port, [load.repeat(Step(b'x', 201))], 60)
        thread.join()
