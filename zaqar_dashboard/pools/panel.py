# SPDX-License-Identifier: Apache-2.0
"""The panel itself."""

import horizon
from django.utils.translation import gettext_lazy as _


class Pools(horizon.Panel):
    """Lists pools to those who may see them, if there is such a service."""

    name = _('Pools')
    slug = 'message_pools'
    permissions = ('openstack.services.messaging',)
    policy_rules = (('messaging', 'pools:get_all'),)
