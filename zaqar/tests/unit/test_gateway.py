# SPDX-License-Identifier: Apache-2.0
"""Requests as WSGI has them."""

from __future__ import annotations

import tracemalloc

from zaqar.transport.wsgi import asgi_adapter


def _scope(*headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {
        'raw_path': b'/v2/a%20b',
        'query_string': b'limit=1',
        'server': ('127.0.0.1', '8888'),
        'client': ('127.0.0.1', 1),
        'method': 'GET',
        'scheme': 'http',
        'http_version': '1.1',
        'headers': headers,
    }


def test_headers_are_as_wsgi_names_them() -> None:
    environ = asgi_adapter.to_environ(
        _scope(
            (b'content-type', b'a/b'),
            (b'x-a', b'1'),
            (b'x-a', b'\xe9'),
            (b'x_a', b'left out'),
            (b'x-' + b'a' * 100, b'long'),
        )
    )
    assert environ['PATH_INFO'] == '/v2/a b'
    assert environ['CONTENT_TYPE'] == 'a/b'
    assert environ['HTTP_X_A'] == '1,\xe9'
    assert environ[f'HTTP_X_{"A" * 100}'] == 'long'


def test_names_that_callers_invent_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            name = b'%d-' % number + b'a' * 60_000
            asgi_adapter.to_environ(_scope((name, b'')))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2**20
