# SPDX-License-Identifier: Apache-2.0
"""The caller of a controller function, and the services that it works with."""

from __future__ import annotations

import math
from collections.abc import Set

import msgspec
from msgspec import structs

from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.approximate_quota_checks import ApproximateUsage
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.message_flow_estimates import MessageFlowEstimates
from zaqar.controllers.pending_delivery_counts_by_subscription import (
    PendingDeliveryCounts,
)
from zaqar.controllers.pipeline_and_confirmation_settings import Pipeline
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.controllers.rate_limits import Throttle
from zaqar.controllers.server_guarantees_cache import ServerGuaranteesCache
from zaqar.controllers.trust_interface import Trusts
from zaqar.controllers.url_signatures import Signer
from zaqar.identity import Identity
from zaqar.microversion_constants import V2_0, Version
from zaqar.pools.queue_catalogue import Catalogue


class Context(msgspec.Struct, frozen=True):
    """The caller of an operation, and what the service works with.

    :ivar size: bytes of the request's body, 0 without one
    :ivar version: that of the request
    :ivar features: see :mod:`zaqar.api.optional_features`
    :ivar rates: what this process has seen of the statistics of queues
    :ivar guarantees: what it has seen of the settings of their servers
    :ivar pending: what it has seen of the outboxes
    :ivar usage: what projects have stored and pending, None without quotas
    :ivar throttle: keeps projects to their rates, None without any
    :ivar trusts: None if the service has no user who could be trusted
    """

    identity: Identity
    catalogue: Catalogue
    limits: Limits
    size: int = 0
    signer: Signer = msgspec.field(default_factory=Signer)
    cipher: Cipher = msgspec.field(default_factory=Cipher)
    features: Set[str] = frozenset()
    pipeline: Pipeline = msgspec.field(default_factory=Pipeline)
    trusts: Trusts | None = None
    version: Version = V2_0
    rates: MessageFlowEstimates = msgspec.field(
        default_factory=MessageFlowEstimates
    )
    guarantees: ServerGuaranteesCache = msgspec.field(
        default_factory=ServerGuaranteesCache
    )
    pending: PendingDeliveryCounts = msgspec.field(
        default_factory=PendingDeliveryCounts
    )
    quotas: Quotas = msgspec.field(default_factory=Quotas)
    usage: ApproximateUsage | None = None
    throttle: Throttle | None = None

    def called_by(
        self, identity: Identity, size: int, version: Version
    ) -> Context:
        """Return the same context for another request."""
        context = structs.replace(
            self, identity=identity, size=size, version=version
        )
        if identity.signed is None or not identity.signed.fingerprint:
            return context
        only = self.catalogue.limited(identity.signed.fingerprint)
        return structs.replace(context, catalogue=only)

    def lifetime(self, seconds: int) -> int:
        """Return the lifetime of an object that the caller creates.

        An object created through a pre-signed URL ends with the URL.

        :param seconds: the requested lifetime
        """
        signed = self.identity.signed
        if signed is None:
            return seconds
        left = signed.ends_at - self.signer.now()
        return min(seconds, max(1, math.floor(left.total_seconds())))
