# SPDX-License-Identifier: Apache-2.0
"""Requests to an application in the process of a test."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import TURN, Turn
from zaqar.transport.wsgi import application_call, request_environ

#: Takes a method, a path and a body; returns the status and the answer.
Ask = Callable[..., tuple[int, Any]]


def asking(
    app: Any, headers: dict[str, str], turns: Turns | None = None
) -> Ask:
    """Return what has an application answer requests."""
    connection = request_environ.of_connection(
        ('127.0.0.1', 8888), '127.0.0.1'
    )

    def ask(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        target, _, query = path.encode().partition(b'?')
        data = b'' if body is None else json.dumps(body).encode()
        sent = {**headers, 'Content-Length': str(len(data))}
        pairs = [(k.encode(), v.encode()) for k, v in sent.items()]
        environ = request_environ.of_request(
            *(connection, method, target, query, '1.1', pairs)
        )
        environ['wsgi.input'] = io.BytesIO(data)
        if turns is not None:
            environ[TURN] = Turn(turns)
        status, _, content = application_call.call(app, environ)
        return status, json.loads(content or b'null')

    return ask
