# SPDX-License-Identifier: Apache-2.0
"""Enables the group of zaqar_dashboard for administrators."""

from django.utils.translation import gettext_lazy as _

PANEL_GROUP = 'messaging'
PANEL_GROUP_NAME = _('Messaging')
PANEL_GROUP_DASHBOARD = 'admin'
