# SPDX-License-Identifier: Apache-2.0
"""What a controller function is given besides its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from zaqar.controllers.limits import Limits
from zaqar.controllers.signatures import Signer
from zaqar.models import Identity
from zaqar.storage.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Context:
    """One caller at work.

    :ivar size: bytes of the request's body, 0 without one
    """

    identity: Identity
    catalogue: Catalogue
    limits: Limits
    size: int = 0
    signer: Signer = field(default_factory=Signer)
