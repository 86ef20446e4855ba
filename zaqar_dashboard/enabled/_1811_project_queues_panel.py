# SPDX-License-Identifier: Apache-2.0
"""Enables the panel "Queues"."""

PANEL = 'queues'
PANEL_GROUP = 'messaging'
PANEL_DASHBOARD = 'project'
ADD_PANEL = 'zaqar_dashboard.queues.panel.Queues'
