# SPDX-License-Identifier: Apache-2.0
"""What a project may have: the resources, and limits by configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oslo_config import cfg

from zaqar import options_as_dataclass_fields
from zaqar.options_as_dataclass_fields import option

GROUP = 'quotas'

#: The limit of a resource without one, as other services write it.
UNLIMITED = -1

#: Limits by the names of their resources; those without one are absent.
Limits = Mapping[str, int]


def _limit(what: str, sane: int) -> Any:
    return option(
        UNLIMITED,
        f'Maximum number of {what}. 0 and -1, the default, mean no limit.',
        min=UNLIMITED,
        sample_default=sane,
    )


@dataclass(frozen=True)
@options_as_dataclass_fields.of(GROUP)
class QuotaSettings:
    """Quotas of projects that have none of their own."""

    use_unified_limits: bool = option(
        False,
        'Whether limits are those of Keystone, which [oslo_limit] says how to '
        'reach; "zaqar-manage limits sync" registers them there. Needs the '
        'extra "unified-limits". The limits below apply until Keystone has '
        'responded for the first time.',
    )
    project_quotas: bool = option(
        False,
        'Whether administrators may set quotas of single projects by PUT '
        '/v2/quotas/{project_id}. Not with use_unified_limits.',
    )
    queues: int = _limit('queues of a project', 1000)
    topics: int = _limit('topics of a project', 1000)
    subscriptions: int = _limit('subscriptions of a project', 1000)
    subscriptions_per_queue: int = _limit(
        'subscriptions to one queue or topic', 100
    )
    sockets: int = _limit(
        'WebSocket connections of a project, and of those with streams over '
        'HTTP',
        500,
    )
    message_bytes: int = _limit(
        'bytes of message bodies that a project has stored, about', 10**9
    )
    delivery_bytes: int = _limit(
        'bytes of message bodies that are to be delivered to the subscribers '
        'of a project, counted for each of them, about',
        10**9,
    )

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> QuotaSettings:
        return cls(**options_as_dataclass_fields.values(cls, conf))

    @property
    def limits(self) -> Limits:
        return {
            name: limit
            for name in RESOURCES
            if (limit := getattr(self, name)) > 0
        }

    @property
    def are_on(self) -> bool:
        """Whether any project may have a limit."""
        return bool(
            self.use_unified_limits or self.project_quotas or self.limits
        )


OPTS = options_as_dataclass_fields.options(QuotaSettings)[GROUP]

#: The resources, in the order in which they are shown.
RESOURCES = tuple(opt.name for opt in OPTS if isinstance(opt, cfg.IntOpt))
