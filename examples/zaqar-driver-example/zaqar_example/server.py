# SPDX-License-Identifier: Apache-2.0
"""A server that keeps places in memory, for as long as it runs.

It knows no passwords: whoever reaches the port may do everything. A real
server would.
"""

from __future__ import annotations

import argparse
import socketserver
import threading
from collections import OrderedDict, defaultdict
from typing import Any

from zaqar import store_clock
from zaqar.errors import QueueGone, StaleMetadata, ZaqarError
from zaqar_example.memory import Messages
from zaqar_example.records import Records
from zaqar_example.wire import Answer, Request, receive, send

#: Answers that a place remembers.
MEMORY = 1000


class Place:
    """What belongs together: both planes, and the lock that guards them.

    One call at a time makes every call atomic, and that is most of what the
    contract asks for. The rest is that calls may be repeated: whoever sends a
    request again is given the answer that was lost.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.planes: dict[str, Any] = {
            'messages': Messages(),
            'records': Records(),
        }
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def answer(self, request: Request) -> Answer:
        """Make a call and return what came of it."""
        with self.lock:
            if request.id not in self._answers:
                self._answers[request.id] = self._call(request)
            if len(self._answers) > MEMORY:
                self._answers.popitem(last=False)
            return self._answers[request.id]

    def _call(self, request: Request) -> Answer:
        call = getattr(self.planes[request.plane], request.call)
        try:
            return Answer(call(**request.values))
        except (ZaqarError, QueueGone, StaleMetadata) as error:
            return Answer(None, type(error).__name__, str(error) or None)


class _Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        """Answer the requests of one connection."""
        while True:
            try:
                request = receive(self.request, Request)
                send(self.request, self.server.answer(request))
            except (OSError, EOFError):
                return


class Server(socketserver.ThreadingTCPServer):
    """Listens on an address."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self._places: dict[str, Place] = defaultdict(Place)

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        if request.call == 'now':
            return Answer(store_clock.wall_ms())
        return self._places[request.place].answer(request)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=7007)
    given = parser.parse_args()
    with Server(given.host, given.port) as server:
        server.serve_forever()


if __name__ == '__main__':
    main()
