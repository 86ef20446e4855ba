# SPDX-License-Identifier: Apache-2.0
"""Settings of the pipeline and of confirmation: when to notify whom."""

from __future__ import annotations

from dataclasses import dataclass

from oslo_config import cfg

from zaqar.controllers import delivery_attempt_history
from zaqar.errors import ConfigurationError
from zaqar.objects import Subscription

GROUP = 'storage'

#: The stage that notifies subscribers.
NOTIFIER = 'zaqar.notification.notifier'

OPTS = [
    cfg.ListOpt(
        'message_pipeline',
        default=[NOTIFIER],
        help=f'Stages of posted messages. The only one, {NOTIFIER}, '
        'notifies subscribers; without it, subscriptions have no effect. Any '
        'other name is a startup error.',
    ),
    *(
        cfg.ListOpt(
            f'{kind}_pipeline',
            default=[],
            help=f'Stages of requests for {what}. There are none: any name '
            'is a startup error.',
        )
        for kind, what in (
            ('queue', 'queues'),
            ('claim', 'claims'),
            ('subscription', 'subscriptions'),
            ('topic', 'topics'),
        )
    ),
]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Whether subscribers are notified, and whether they have to confirm.

    :ivar notifies: ``message_pipeline`` has the stage
    :ivar confirms: ``[notification] require_confirmation``
    :ivar confirms_mail: ``[notification] confirm_mail``
    :ivar attempts_lifetime: ``[notification] attempts_lifetime``
    """

    notifies: bool = False
    confirms: bool = False
    confirms_mail: bool = False
    attempts_lifetime: int = delivery_attempt_history.LIFETIME

    def needs_confirmation(self, subscriber: str) -> bool:
        is_mail = subscriber[:7].lower() == 'mailto:'
        return self.confirms or (self.confirms_mail and is_mail)

    def is_notified(self, subscription: Subscription) -> bool:
        return subscription.confirmed or not self.needs_confirmation(
            subscription.subscriber
        )

    @classmethod
    def from_conf(
        cls,
        conf: cfg.ConfigOpts,
        confirms: bool,
        confirms_mail: bool,
        attempts_lifetime: int,
    ) -> Pipeline:
        conf.register_opts(OPTS, GROUP)
        stages_of = {
            opt.name: [stage for stage in conf[GROUP][opt.name] if stage]
            for opt in OPTS
        }
        for option, stages in stages_of.items():
            known = {NOTIFIER} if option == 'message_pipeline' else set()
            for unknown in set(stages) - known:
                raise ConfigurationError(
                    f'[{GROUP}] {option}: there is no stage "{unknown}"'
                )
        notifies = bool(stages_of['message_pipeline'])
        return cls(notifies, confirms, confirms_mail, attempts_lifetime)
