# SPDX-License-Identifier: Apache-2.0
"""The parameters of a claim or a pop, as its steps pass them on."""

from collections.abc import Sequence
from dataclasses import dataclass

from zaqar.storage.mongodb import document_layout
from zaqar.storage.mongodb.queue_state_cache import CachedQueue


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """The parameters of a claim.

    :ivar max_claims: how often a message is handed out; 0 for any number
    :ivar is_pop: whether it ends with a deletion: neither are its messages
        counted, nor do they outlive it
    :ivar only: ids of the messages that it may take; None for any
    """

    queue: CachedQueue
    claim_id: str
    now: int
    ttl: int
    grace: int
    max_claims: int = 0
    is_pop: bool = False
    only: Sequence[str] | None = None

    @property
    def end(self) -> int:
        return self.now + self.ttl * 1000

    @property
    def raised_end(self) -> int:
        return self.end + self.grace * 1000

    @property
    def key(self) -> bytes:
        """The value that the messages of the claim are found by."""
        return document_layout.claim_key(self.queue.key, self.claim_id)
