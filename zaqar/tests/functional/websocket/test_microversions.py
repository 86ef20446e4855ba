# SPDX-License-Identifier: Apache-2.0
"""Versions of frames: reference/websocket, "Microversions"."""

from __future__ import annotations

from zaqar.api.microversions import HEADER as NAME
from zaqar.tests.functional.websocket.client import Talk


def test_a_version_is_named_once_or_in_each_frame(talk: Talk) -> None:
    talk.headers.pop(NAME, None)
    new = {'status': 200, NAME: 'messaging 2.1'}

    talk.send('queue_list', headers={NAME: 'messaging 2.1', 'request_id': 7})
    assert talk.receive()[0]['headers'] == {**new, 'request_id': 7}
    talk.send('queue_list', headers={'request_id': 8})
    assert talk.receive()[0]['headers'] == {'status': 200}
    token = {'X-Auth-Token': 'none', NAME: 'messaging latest'}
    talk.send('authenticate', headers=token)
    assert talk.receive()[0]['headers'] == new
    talk.send('queue_list', headers={'request_id': 9})
    assert talk.receive()[0]['headers'] == {**new, 'request_id': 9}
    talk.send('queue_list', headers={NAME: 'messaging 2.99'})
    assert talk.receive()[0]['headers'] == {'status': 406}
