# SPDX-License-Identifier: Apache-2.0
"""``python -m zaqar.tests.servers.clustercheck PORT=NODE...``.

Answers HTTP on each port: 200 while the node of Galera that listens on the
other port is in step with its cluster, else 503; as clustercheck does.
"""

from __future__ import annotations

import contextlib
import http.server
import sys
import threading

import pymysql

_QUESTION = (
    'SHOW GLOBAL STATUS WHERE Variable_name IN '
    "('wsrep_ready', 'wsrep_local_state')"
)

#: Synced.
_IN_STEP = {'wsrep_ready': 'ON', 'wsrep_local_state': '4'}


def is_in_step(port: int) -> bool:
    """Tell whether a node is a full member of its cluster."""
    try:
        connection = pymysql.connect(
            host='127.0.0.1',
            port=port,
            user='root',
            connect_timeout=2,
            read_timeout=2,
            # Else each would load all certificates of the system first.
            ssl_disabled=True,
        )
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(_QUESTION)
            return dict(cursor.fetchall()) == _IN_STEP
    except (OSError, pymysql.Error):
        return False


def _handler(node: int) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 200 if is_in_step(node) else 503
            # HAProxy may have given up.
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header('Content-Length', '0')
                self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def main() -> None:
    """Serve until killed."""
    threads = []
    for argument in sys.argv[1:]:
        port, _, node = argument.partition('=')
        server = http.server.ThreadingHTTPServer(
            ('127.0.0.1', int(port)), _handler(int(node))
        )
        threads.append(threading.Thread(target=server.serve_forever))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == '__main__':
    main()
