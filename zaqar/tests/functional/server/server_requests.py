# SPDX-License-Identifier: Apache-2.0
"""Requests to a server that a test has started."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

from zaqar.tests.servers.zaqar import Zaqar

HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'p',
}
MESSAGES = '/v2/queues/q/messages'


def until(condition: Callable[[], bool], patience: float = 60.0) -> bool:
    """Wait for a condition; tell whether it has come true."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def post(server: Zaqar, body: Any, **more: Any) -> requests.Response:
    """Post one message."""
    return requests.post(
        server.url + MESSAGES,
        json={'messages': [{'body': body}]},
        headers=HEADERS,
        timeout=60,
        **more,
    )


def stored(server: Zaqar) -> list[Any]:
    """Return the bodies of all messages."""
    path, bodies = f'{MESSAGES}?echo=true&limit=20', []
    with requests.Session() as session:
        while path:
            page = session.get(
                server.url + path, headers=HEADERS, timeout=60
            ).json()
            bodies += [message['body'] for message in page['messages']]
            path = page['links'][0]['href'] if page['links'] else ''
    return bodies
