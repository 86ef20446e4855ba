# SPDX-License-Identifier: Apache-2.0
"""The panel itself."""

import horizon
from django.utils.translation import gettext_lazy as _


class Flavors(horizon.Panel):
    """Lists flavors to those who may see them, if there is such a service."""

    name = _('Flavors')
    # Horizon has flavors of its own.
    slug = 'message_flavors'
    permissions = ('openstack.services.messaging',)
    policy_rules = (('messaging', 'flavors:get_all'),)
