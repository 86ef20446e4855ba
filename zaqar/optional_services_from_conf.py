# SPDX-License-Identifier: Apache-2.0
"""Services of controllers, built as the configuration wants them, or not."""

from oslo_config import cfg

from zaqar import config_loading
from zaqar.controllers.configured_quotas import QuotaSettings
from zaqar.controllers.pipeline_and_confirmation_settings import Pipeline
from zaqar.controllers.quota_limit_sources import LimitSource
from zaqar.controllers.rate_limits import RateSettings, Throttle
from zaqar.controllers.trust_interface import Trusts
from zaqar.controllers.url_signatures import Signer
from zaqar.errors import ConfigurationError
from zaqar.notification import settings as notification


def trusts(conf: cfg.ConfigOpts) -> Trusts | None:
    """Return what makes trusts, None if the service has no user for them."""
    if not config_loading.may_have(conf, 'trustee'):
        return None
    from zaqar.keystone.trusts import KeystoneTrusts

    return KeystoneTrusts.from_conf(conf)


def unified_limits(
    conf: cfg.ConfigOpts, settings: QuotaSettings
) -> LimitSource | None:
    """Return the limits of Keystone, None without them."""
    if not settings.use_unified_limits:
        return None
    from zaqar.keystone.unified_limits import KeystoneLimits

    return KeystoneLimits(conf)


def throttle(conf: cfg.ConfigOpts) -> Throttle | None:
    """Return what keeps projects to their rates, None without any."""
    settings = RateSettings.from_conf(conf)
    if not settings.limits:
        return None
    if settings.redis_uri is None:
        return Throttle(settings)
    try:
        from zaqar.redis_token_buckets import RedisTokenBuckets
    except ImportError:
        raise ConfigurationError(
            '[rates] redis_uri needs the extra "redis"'
        ) from None
    return Throttle(settings, RedisTokenBuckets(settings))


def pipeline(
    conf: cfg.ConfigOpts,
    settings: notification.NotificationSettings,
    signer: Signer,
) -> Pipeline:
    """Return what happens to messages once they are stored.

    :raises ConfigurationError: confirmation is required without a key
    """
    confirms = settings.require_confirmation
    pipeline = Pipeline.from_conf(
        conf, confirms, settings.confirm_mail, settings.attempts_lifetime
    )
    if confirms and pipeline.notifies and not signer.has_key:
        raise ConfigurationError(
            f'[{notification.GROUP}] require_confirmation needs '
            '[signed_url] secret_key'
        )
    return pipeline
