# SPDX-License-Identifier: Apache-2.0
"""A server with places, which are databases in memory.

It has no authentication: everyone who reaches the port may do everything.
"""

from __future__ import annotations

import argparse
import socketserver
import threading
from collections import OrderedDict, defaultdict
from typing import Any

from zaqar import store_clock
from zaqar_example.memory import Messages
from zaqar_example.records import Records
from zaqar_example.wire import Answer, Refusal, Request, receive, send

#: Number of answers that a place remembers for repeated requests.
MEMORY = 1000


class Place:
    """Both stores of one database, and the lock that guards them.

    One call at a time makes every call atomic, which fulfils most of the
    contract. The rest is that calls may be repeated: a request that is sent
    again gets the answer that was lost.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.planes: dict[str, Any] = {
            'messages': Messages(),
            'records': Records(),
        }
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def answer(self, request: Request) -> Answer:
        """Execute a call once; return its result or error."""
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
        except Refusal as refusal:
            return refusal.answer


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
    """The server, listening on an address."""

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
    """Run the server until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=7007)
    args = parser.parse_args()
    with Server(args.host, args.port) as server:
        server.serve_forever()


if __name__ == '__main__':
    main()
