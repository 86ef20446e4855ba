# SPDX-License-Identifier: Apache-2.0
"""Large pages of projects that an event loop knows for small ones."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import pytest
from oslo_config import cfg

from zaqar import service_assembly
from zaqar.controllers.message_encryption import Cipher
from zaqar.current_request import OF_THREAD
from zaqar.tests.functional.redis.application_calls import asking
from zaqar.tests.functional.redis.test_access import settings
from zaqar.tests.functional.redis.test_service import HEADERS
from zaqar.tests.servers.greenlets import Greenlets
from zaqar.tests.servers.greenlets import greenlets as greenlets
from zaqar.tests.servers.redis import Redis
from zaqar.transport import resource_representations
from zaqar.transport.large_page_fairness import LARGE, Turns

_KEY = '[transport]\nmessage_encryption_key = a-key-of-these-tests\n'

#: Two of them are a large page.
LONG = 'x' * (LARGE // 2)


def test_they_are_decrypted_and_encoded_in_threads(
    server: Redis,
    tmp_path: pathlib.Path,
    greenlets: Greenlets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_loop: list[bool] = []

    def watch(owner: object, name: str) -> None:
        function = getattr(owner, name)

        def watched(*arguments: Any) -> Any:
            in_loop.append(OF_THREAD.request.greenlet is not None)
            return function(*arguments)

        monkeypatch.setattr(owner, name, watched)

    file = tmp_path / 'zaqar.conf'
    file.write_text(
        f'[DEFAULT]\nstate_path = {tmp_path}\n'
        f'{settings(f"{server.url}?dbid=905")}{_KEY}'
    )
    conf = cfg.ConfigOpts()
    conf([f'--config-file={file}'], project='zaqar')
    service = service_assembly.Service(conf)
    try:
        turns = Turns()
        ask = asking(service.application(), HEADERS, turns)
        queue = '/v2/queues/large'
        encrypted = {'_enable_encrypt_messages': True}
        assert ask('PUT', queue, encrypted)[0] == 201
        for body in (LONG, LONG):
            messages = {'messages': [{'body': body, 'ttl': 300}]}
            assert ask('POST', f'{queue}/messages', messages)[0] == 201
        watch(Cipher, 'opened')
        watch(resource_representations, 'content')
        for method, path, is_small in (
            ('GET', 'messages?echo=true&limit=1', True),
            ('GET', 'messages?echo=true', False),
            ('POST', 'claims', False),
        ):
            # As after many small pages.
            turns.page_lengths['demo'] = 100
            call = method, f'{queue}/{path}', {} if method == 'POST' else None
            ((status, _),) = greenlets.run(functools.partial(ask, *call))
            assert status in (200, 201)
            assert {*in_loop} == {is_small}
            in_loop.clear()
    finally:
        service.close()
