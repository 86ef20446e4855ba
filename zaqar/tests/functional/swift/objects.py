# SPDX-License-Identifier: Apache-2.0
"""The objects of a queue, as Swift itself tells."""

from __future__ import annotations

import time
from collections import Counter
from email.utils import parsedate_to_datetime

from zaqar.tests.servers.swift import Swift

#: Seconds for which a deletion may be under way.
PATIENCE = 60.0

#: Bodies below and above what goes into a row, as JSON.
SMALL = 'x' * 4094
LARGE = 'x' * 4095


class Objects:
    """What Swift has of a queue, and what it was asked since the last look.

    :param qid: the queue, whose objects are in a container of many
    """

    def __init__(self, swift: Swift, qid: str) -> None:
        self.swift = swift
        self._container = f'/zaqar_bodies_{qid[:1]}'
        self._prefix = f'{qid}/'
        self._seen = len(self._all_requests())

    def paths(self) -> list[str]:
        """Return the paths of the objects."""
        answer = self.swift.request(
            'GET', f'{self._container}?prefix={self._prefix}'
        )
        names = answer.text.split() if answer.ok else []
        return [f'{self._container}/{name}' for name in names]

    def become(self, count: int) -> list[str]:
        """Return the paths as soon as there are so many."""
        end = time.monotonic() + PATIENCE
        while len(paths := self.paths()) != count:
            assert time.monotonic() < end, f'{len(paths)}, not {count}'
            time.sleep(0.05)
        return paths

    def life(self, path: str) -> float:
        """Return how many seconds an object has left by Swift's clock."""
        headers = self.swift.request('HEAD', path).headers
        now = parsedate_to_datetime(headers['Date']).timestamp()
        return float(headers['X-Delete-At']) - now

    def remove(self, path: str) -> None:
        """Delete an object behind the store's back."""
        assert self.swift.request('DELETE', path).status_code == 204
        self.new_requests()

    def new_requests(self) -> dict[str, int]:
        """Return how often each method was used on objects of the queue."""
        requests = self._all_requests()
        new, self._seen = requests[self._seen :], len(requests)
        return dict(Counter(line.split()[0] for line in new))

    def _all_requests(self) -> list[str]:
        return [line for line in self.swift.requests() if self._prefix in line]
