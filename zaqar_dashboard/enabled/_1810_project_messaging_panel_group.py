# SPDX-License-Identifier: Apache-2.0
"""Enables the panels for queues, and the application itself."""

from django.utils.translation import gettext_lazy as _

from zaqar_dashboard import errors

PANEL_GROUP = 'messaging'
PANEL_GROUP_NAME = _('Messaging')
PANEL_GROUP_DASHBOARD = 'project'
ADD_INSTALLED_APPS = ['zaqar_dashboard']
ADD_EXCEPTIONS = {
    'not_found': (errors.NotFound,),
    'recoverable': (errors.ServiceError,),
    'unauthorized': (errors.Unauthorized,),
}
