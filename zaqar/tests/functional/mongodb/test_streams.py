# SPDX-License-Identifier: Apache-2.0
"""A stream of a queue."""

from __future__ import annotations

import pathlib

from zaqar.tests.functional.test_streams import check
from zaqar.tests.servers.mongodb import MongoDB
from zaqar.tests.servers.zaqar import Zaqar

_STORES = """
[drivers]
message_store = mongodb
management_store = mongodb
[drivers:message_store:mongodb]
uri = {uri}
[drivers:management_store:mongodb]
uri = {uri}
"""


def test_a_stream_is_cut_and_resumed(
    server: MongoDB, tmp_path: pathlib.Path, project: str
) -> None:
    uri = server.uri
    zaqar = Zaqar(
        tmp_path,
        general='unreliable = true\n',
        rest=_STORES.format(uri=uri),
    ).start()
    try:
        check(zaqar, project)
    finally:
        zaqar.stop()
