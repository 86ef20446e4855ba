# SPDX-License-Identifier: Apache-2.0
"""Optional features: what an operator has to switch on.

Operations are among them, and pooling changes where queues are stored, too. An
option of former releases is accepted, and has no effect.
"""

from collections.abc import Set
from typing import Literal

from oslo_config import cfg

Feature = Literal['admin_mode', 'pooling']

ADMIN_MODE = cfg.BoolOpt(
    'admin_mode',
    default=False,
    help='Also serve the operations for administrators: health, pools and '
    'flavors.',
)

POOLING = cfg.BoolOpt(
    'pooling',
    default=False,
    deprecated_name='sharding',
    help='Spread queues over pools. The management store then records the '
    'pool of each queue; administrators manage pools if admin_mode is on.',
)

DEPRECATED_VERSIONS = cfg.ListOpt(
    'enable_deprecated_api_versions',
    default=[],
    deprecated_for_removal=True,
    deprecated_reason='Version 2 is the only one there is.',
    help='Has no effect; accepted so that existing files load. Version 1.1 of '
    'the API is not supported.',
)


def from_conf(conf: cfg.ConfigOpts) -> Set[Feature]:
    conf.register_opts([ADMIN_MODE, POOLING, DEPRECATED_VERSIONS])
    features: tuple[Feature, ...] = ('admin_mode', 'pooling')
    return frozenset(feature for feature in features if conf[feature])
