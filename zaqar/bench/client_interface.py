# SPDX-License-Identifier: Apache-2.0
"""What workers need of a client, whatever protocol it speaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

#: Seconds to wait for an answer.
TIMEOUT = 30.0


class CallFailed(Exception):
    """A request that did not succeed; the text is the status or the kind."""


@dataclass(frozen=True, slots=True)
class ClaimedMessages:
    """The id of a claim, and the ids and bodies of its messages."""

    claim_id: str
    message_ids: Sequence[str]
    bodies: Sequence[Any]


class BenchClient(Protocol):
    """A connection that makes one request at a time.

    Every call raises :class:`CallFailed` unless it succeeds.
    """

    def connect(self) -> None:
        """Open the connection."""

    def delete_queue(self, queue: str) -> None:
        """Delete a queue, whether or not it exists."""

    def post(self, queue: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """Post messages."""

    def claim(
        self, queue: str, *, ttl: int, grace: int, limit: int, wait: int
    ) -> ClaimedMessages | None:
        """Claim messages; return None if there are none.

        :param wait: seconds to wait for one; 0 needs no version 2.1
        """

    def delete(self, queue: str, claim_id: str, message_id: str) -> None:
        """Delete a claimed message."""

    def delete_many(self, queue: str, message_ids: Sequence[str]) -> None:
        """Delete messages in one request."""

    def list(self, queue: str, marker: str | None, limit: int) -> str | None:
        """List messages after a marker, claimed ones too.

        :returns: the next marker; None at the end of the queue
        """

    def close(self) -> None:
        """Close the connection."""
