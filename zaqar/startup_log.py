# SPDX-License-Identifier: Apache-2.0
"""What a program logs as it starts: its stores, and doubtful settings."""

import logging

from oslo_config import cfg

from zaqar import config_file_check, optional_services_from_conf, version
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.url_signatures import Signer
from zaqar.notification import settings as notification
from zaqar.storage import secret_masking
from zaqar.storage.configured_drivers_and_options import locations
from zaqar.transport import caller_identity, sqs_path
from zaqar.transport.sqs import settings as sqs

LOG = logging.getLogger(__name__)


def announce(conf: cfg.ConfigOpts, prog: str) -> None:
    """Log the stores of a starting program, and doubtful settings."""
    stores = [
        f'{place.plane.replace("_", " ")} {place.driver} '
        f'({secret_masking.mask(place.uri)})'
        for place in locations(conf)
    ]
    LOG.info(
        '%s %s uses %s', prog, version.version_string(), ' and '.join(stores)
    )
    for remark in config_file_check.ignored(conf):
        LOG.warning('Configuration: %s', remark)
    if not caller_identity.strategy(conf):
        LOG.warning(
            '[DEFAULT] auth_strategy is not set: the service trusts the '
            'identity that a request sends, even that of an administrator. '
            'Set it to "keystone" where others can reach this port.'
        )
        if sqs.is_enabled(conf):
            LOG.warning(
                '[DEFAULT] auth_strategy is not set: below %s the access key '
                'of a request is taken for its project, and any signature is '
                'valid.',
                sqs_path.PATH,
            )

    _warn_if_mail_waits(conf)


def _warn_if_mail_waits(conf: cfg.ConfigOpts) -> None:
    """Warn if mail addresses can subscribe but cannot be confirmed."""
    signer = Signer.from_conf(conf)
    pipeline = optional_services_from_conf.pipeline(
        conf, notification.NotificationSettings.from_conf(conf), signer
    )
    is_offered = 'mailto' in Limits.from_conf(conf).subscriber_types
    confirms = pipeline.notifies and pipeline.needs_confirmation('mailto:')
    if is_offered and confirms and not signer.has_key:
        LOG.warning(
            '[notification] confirm_mail needs [signed_url] secret_key, which '
            'is not set: subscribers by mailto: cannot be asked to confirm, '
            'so no mails are sent to them.'
        )
