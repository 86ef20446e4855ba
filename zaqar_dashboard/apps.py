# SPDX-License-Identifier: Apache-2.0
"""The application, as Django loads it."""

from __future__ import annotations

import pathlib

from django import apps, conf

#: The service type, by which Horizon finds policies.
SERVICE = 'messaging'

_DEFAULTS = pathlib.Path(__file__).with_name('policies') / 'zaqar.yaml'


class ZaqarDashboard(apps.AppConfig):
    """Gives Horizon the policies of the service.

    Without rules Horizon would show everybody every action. The settings
    ``POLICY_FILES`` and ``DEFAULT_POLICY_FILES`` have precedence.
    """

    name = 'zaqar_dashboard'

    def ready(self) -> None:
        """Announce the default policies, and a file for deviations."""
        settings = conf.settings
        settings.POLICY_FILES.setdefault(SERVICE, 'zaqar_policy.yaml')
        settings.DEFAULT_POLICY_FILES.setdefault(SERVICE, str(_DEFAULTS))
