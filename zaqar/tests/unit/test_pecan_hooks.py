# SPDX-License-Identifier: Apache-2.0
"""Hooks of pecan, which extensions may add."""

from __future__ import annotations

from typing import Any

import pytest
from pecan.hooks import PecanHook

from zaqar.errors import NotFound
from zaqar.transport.wsgi.minimal_pecan_application import PecanApplication
from zaqar.transport.wsgi.responses import Response
from zaqar.transport.wsgi_types import Environ


class Root:
    """Answers as the path says."""

    def handle(self, environ: Environ) -> Response:
        if environ['PATH_INFO'] == '/missing':
            raise NotFound('There is none.')
        if environ['PATH_INFO'] == '/broken':
            raise LookupError
        return Response(200, b'{}', {'Vary': 'Accept'})


class Noting(PecanHook):
    """Notes what happens."""

    def __init__(self) -> None:
        self.status: list[int] = []

    def after(self, state: Any) -> None:
        self.status.append(state.response.status)


def ask(app: PecanApplication, path: str) -> Any:
    started: list[Any] = []
    body = app({'PATH_INFO': path}, lambda *args: started.append(args))
    return started, b''.join(body)


@pytest.mark.parametrize(
    ('path', 'status'), [('/', 200), ('/missing', 404), ('/broken', 500)]
)
def test_hooks_run_and_change_no_answer(path: str, status: int) -> None:
    root: Any = Root()
    hook = Noting()
    hooked = ask(PecanApplication(root, [hook]), path)
    assert hook.status == [status]
    assert hooked == ask(PecanApplication(root), path)
    assert hooked[0][0][0].startswith(str(status))
