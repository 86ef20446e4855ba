# SPDX-License-Identifier: Apache-2.0
"""What a controller function is given besides its arguments."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, field

from zaqar.controllers.encryption import Cipher
from zaqar.controllers.limits import Limits
from zaqar.controllers.pipeline import Pipeline
from zaqar.controllers.signatures import Signer
from zaqar.controllers.trusts import Trusts
from zaqar.models import Identity
from zaqar.pools.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Context:
    """One caller at work.

    :ivar size: bytes of the request's body, 0 without one
    :ivar features: see :mod:`zaqar.api.features`
    :ivar trusts: None where no user of ours could be trusted
    """

    identity: Identity
    catalogue: Catalogue
    limits: Limits
    size: int = 0
    signer: Signer = field(default_factory=Signer)
    cipher: Cipher = field(default_factory=Cipher)
    features: Set[str] = frozenset()
    pipeline: Pipeline = field(default_factory=Pipeline)
    trusts: Trusts | None = None

    def lifetime(self, seconds: int) -> int:
        """Return how long what the caller makes may live.

        What is made through a pre-signed URL ends with it.

        :param seconds: that the caller has asked for
        """
        ends_at = self.identity.ends_at
        if ends_at is None:
            return seconds
        left = ends_at - self.signer.now()
        return min(seconds, max(1, math.floor(left.total_seconds())))
