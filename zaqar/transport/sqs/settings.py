# SPDX-License-Identifier: Apache-2.0
"""Settings of the transport for clients of Amazon SQS.

Read even where it is off, hence without the rest of the package.
"""

from oslo_config import cfg

GROUP = 'drivers:transport:sqs'

OPTS = [
    cfg.BoolOpt(
        'enabled',
        default=False,
        help='Whether the WSGI application serves clients of Amazon SQS, '
        'below /sqs.',
    ),
    cfg.IntOpt(
        'secret_cache_duration',
        default=60,
        min=0,
        help='Seconds for which a process verifies signatures by an EC2 '
        'credential that Keystone has verified, without another request to '
        'Keystone. A deleted credential, or a role that was taken away, is '
        'valid for so long. Needs a service user who may read credentials; '
        'without that right, and with 0, Keystone verifies every request.',
    ),
]


def is_enabled(conf: cfg.ConfigOpts) -> bool:
    """Return whether the transport is on."""
    conf.register_opts(OPTS, GROUP)
    return bool(conf[GROUP].enabled)
