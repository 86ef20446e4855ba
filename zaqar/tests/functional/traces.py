# SPDX-License-Identifier: Apache-2.0
"""Traces of osprofiler, and a Redis that keeps them."""

from __future__ import annotations

import json
import pathlib
import shutil
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from zaqar.tests.servers import process

KEY = 'known to two'


def serve(folder: pathlib.Path) -> tuple[process.Process, str]:
    """Start a Redis server; return it and its address."""
    program = shutil.which('redis-server')
    if program is None:
        process.missing('Redis is not installed')
    port = process.free_port()
    server = process.Process(
        [
            *(program, '--port', str(port), '--bind', '127.0.0.1'),
            *('--save', '', '--dir', str(folder)),
        ],
        folder / 'log',
    )
    server.wait_until(lambda: process.accepts(port))
    return server, f'redis://127.0.0.1:{port}'


def profiled(where: str, *layers: str) -> str:
    """Return the group of a configuration with these layers traced."""
    lines = [f'{layer} = true' for layer in layers]
    return '\n'.join(
        [
            *('[profiler]', 'enabled = true', f'hmac_keys = other,{KEY}'),
            *(f'connection_string = {where}', *lines, ''),
        ]
    )


def headers(key: str = KEY) -> tuple[str, Mapping[str, str]]:
    """Return the id of a new trace, and the headers that ask for it."""
    from osprofiler import _utils

    trace = str(uuid.uuid4())
    ids = {'base_id': trace, 'parent_id': trace}
    info, signature = _utils.signed_pack(ids, key)
    assert signature is not None
    return trace, {'X-Trace-Info': info.decode(), 'X-Trace-HMAC': signature}


def names(redis: str, trace: str) -> Sequence[str]:
    """Return the points that the back end has of a trace, in order."""
    return [str(point['name']) for point in points(redis, trace)]


def points(redis: str, trace: str) -> list[dict[str, Any]]:
    """Return the points of a trace, oldest first."""
    client: Any = pytest.importorskip('redis').Redis.from_url(redis)
    with client:
        records = client.lrange(f'osprofiler_opt:{trace}', 0, -1)
    return [json.loads(point) for point in reversed(records)]
