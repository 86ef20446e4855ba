# SPDX-License-Identifier: Apache-2.0
"""A stream of a queue."""

from __future__ import annotations

import pathlib

from zaqar.tests.functional.test_streams import check
from zaqar.tests.servers.redis import Redis
from zaqar.tests.servers.zaqar import Zaqar

_STORES = """
[drivers]
message_store = redis
management_store = redis
[drivers:message_store:redis]
uri = {uri}
[drivers:management_store:redis]
uri = {uri}
"""


def test_a_stream_is_cut_and_resumed(
    server: Redis, tmp_path: pathlib.Path, project: str
) -> None:
    uri = server.url
    zaqar = Zaqar(tmp_path, rest=_STORES.format(uri=uri)).start()
    try:
        check(zaqar, project)
    finally:
        zaqar.stop()
