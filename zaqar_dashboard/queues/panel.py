# SPDX-License-Identifier: Apache-2.0
"""The panel itself."""

import horizon
from django.utils.translation import gettext_lazy as _


class Queues(horizon.Panel):
    """Lists queues to those who may see them, if there is such a service."""

    name = _('Queues')
    slug = 'queues'
    permissions = ('openstack.services.messaging',)
    policy_rules = (('messaging', 'queues:get_all'),)
